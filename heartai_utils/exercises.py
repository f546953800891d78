"""The checks that learners run on their answers: a wrong answer gets a hint, a right one a short word.

Each check raises :class:`NotYet` with a message that helps, or prints what was right; an exercise that nobody has
answered yet gets a hint to begin with.
"""

from __future__ import annotations

from heartai_utils._checks import NotYet
from heartai_utils._checks_01 import (
    check_q_criterion,
    check_qrs_name,
    check_rate_from_columns,
    check_st_arrow,
)
from heartai_utils._checks_02 import (
    HIDDEN_SHORTCUTS,
    check_hidden_shortcut,
    check_look_up_with_rate,
    check_other_names,
    check_twin_share,
    hidden_shortcut,
)
from heartai_utils._checks_03 import (
    check_block_means,
    check_centres,
    check_ink,
    check_thumbnail_width,
)
from heartai_utils._checks_04 import check_beyond_form, check_patch_counts, check_unpatchify
from heartai_utils._checks_05 import check_attention_parameters, check_masked_attention, check_tokens_for_memory
from heartai_utils._checks_06 import (
    check_adamw_step,
    check_cross_entropy,
    check_early_stopping,
    check_steps_and_shrinkage,
)
from heartai_utils._checks_07 import (
    check_corrected_half_width,
    check_paired_interval,
    check_runs_needed,
    check_shrinkage,
)
from heartai_utils._checks_08 import check_attention_distance, check_blank_form, check_largest_coverage
from heartai_utils._checks_09 import check_fresh_or_kept, check_has_met, check_worth_in_pages
from heartai_utils._checks_10 import check_needed_pair, check_none_wrong, check_right_share

__all__ = [
    "HIDDEN_SHORTCUTS", "NotYet", "check_adamw_step", "check_attention_distance", "check_attention_parameters",
    "check_beyond_form", "check_blank_form", "check_block_means", "check_centres", "check_corrected_half_width",
    "check_cross_entropy", "check_early_stopping", "check_fresh_or_kept", "check_has_met", "check_hidden_shortcut",
    "check_ink", "check_largest_coverage", "check_look_up_with_rate", "check_masked_attention", "check_needed_pair",
    "check_none_wrong", "check_other_names", "check_paired_interval", "check_patch_counts", "check_q_criterion",
    "check_qrs_name", "check_rate_from_columns", "check_right_share", "check_runs_needed", "check_shrinkage",
    "check_st_arrow", "check_steps_and_shrinkage", "check_thumbnail_width", "check_tokens_for_memory",
    "check_twin_share", "check_unpatchify", "check_worth_in_pages", "hidden_shortcut",
]  # fmt: skip
