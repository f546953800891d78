"""The looks of the reading room and its reports, and the sentence that is always in sight."""

from __future__ import annotations

WARNING = "Not a medical device. For teaching: nothing here may be used to decide about a person's health."

REMINDER = "Not a medical device. For teaching only."

STYLE = """
.heart-ai{font:1rem/1.5 system-ui,sans-serif;color:#1a1a1a;background:#fff;max-width:70rem;padding:0 .5rem;
box-sizing:border-box;overflow-wrap:anywhere}
.heart-ai *{box-sizing:border-box}
.heart-ai h1,.heart-ai h2,.heart-ai h3,.heart-ai h4{line-height:1.25;margin:1.2em 0 .4em;color:inherit}
.heart-ai p{margin:.4em 0;max-width:46rem}
.heart-ai .warning{border:2px solid #8a3b00;background:#fff4e8;color:#5c2700;padding:.3em .6em;font-weight:600}
.heart-ai .said{font-size:1.3rem;font-weight:700}
.heart-ai img,.heart-ai svg{max-width:100%;height:auto;display:block;background:#fff}
.heart-ai figure{margin:.6em 0}
.heart-ai figcaption{max-width:46rem;color:#333}
.heart-ai table{border-collapse:collapse;margin:.4em 0;width:100%;max-width:36rem;color:inherit}
.heart-ai th,.heart-ai td{overflow-wrap:normal;text-align:left;padding:.2em .6em .2em 0;vertical-align:middle;border:0}
.heart-ai thead th{border-bottom:1px solid #888}
.heart-ai td.bar{width:45%}
.heart-ai td.bar span{display:block;height:.9em;min-width:2px}
.heart-ai .leads{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,9rem),1fr));gap:.4rem}
@media(min-width:50rem){.heart-ai .leads{grid-template-columns:repeat(4,1fr)}}
.heart-ai .sides{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:1rem}
.heart-ai a.download{display:inline-block;padding:.5em .9em;background:#004a86;color:#fff;text-decoration:none;
border-radius:4px;font-weight:600}
.heart-ai-room.heart-ai-room :focus-visible{outline:3px solid #d55e00!important;outline-offset:2px}
"""
