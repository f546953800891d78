"""How nbval compares the chapters and their solutions with what is stored in them.

* Standard error is left out: TensorFlow's C++ library and progress bars write there, and no stored notebook holds any.
* Cells tagged ``trained`` print numbers that a training run decides. They are the same on every run of one machine, but
  processors differ in the last digits of a product, and training magnifies that. Where such a cell differs, its words
  must still be the same, and its numbers near.
"""

import math
import re

NUMBER = re.compile(r"[-−+]?\d+(?:\.\d+)?")


def near(first: str, second: str) -> bool:
    """Same words, and each number within 0.1 or 15 % of its counterpart."""
    if re.sub(r"\s+", " ", NUMBER.sub("#", first)) != re.sub(r"\s+", " ", NUMBER.sub("#", second)):
        return False
    pairs = zip(NUMBER.findall(first), NUMBER.findall(second), strict=True)
    return all(math.isclose(*(float(n.replace("−", "-")) for n in pair), rel_tol=0.15, abs_tol=0.1) for pair in pairs)


def printed(outputs) -> str:
    """All text of a cell's outputs but standard error."""
    texts = []
    for output in outputs:
        if output.get("name") != "stderr":
            texts += [output.get("text", ""), output.get("data", {}).get("text/plain", "")]
    return "\n".join(texts)


def pytest_collection_modifyitems(items):
    for chapter in {item.parent for item in items if hasattr(item.parent, "skip_compare")}:
        chapter.skip_compare = (*chapter.skip_compare, "stderr")
    for item in items:
        if "trained" in getattr(item, "cell", {}).get("metadata", {}).get("tags", []):
            item.compare_outputs = _tolerant(item.compare_outputs)


def _tolerant(strict):
    def compare(test, ref, *args, **kwargs):
        return strict(test, ref, *args, **kwargs) or near(printed(test), printed(ref))

    return compare
