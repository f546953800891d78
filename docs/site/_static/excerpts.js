// Under each result of a search the words around what was found. Sphinx fetches each page for that, which browsers refuse
// for pages opened from disk; here all text (TEXTS, by page) comes as a script.
document.addEventListener("DOMContentLoaded", () => {
  const words = (new URLSearchParams(location.search).get("q") ?? "").toLowerCase().split(/[^\p{L}\p{N}_]+/u);
  const stems = words.filter(Boolean).map((word) => (word.length > 6 ? word.slice(0, -2) : word));

  const addExcerpt = (result) => {
    const page = result.querySelector("a").getAttribute("href").split(".html")[0];
    const text = TEXTS[page] ?? "";
    const places = stems.map((stem) => text.toLowerCase().indexOf(stem)).filter((place) => place >= 0);
    if (!places.length) return;
    const first = Math.max(0, text.lastIndexOf(" ", Math.max(0, Math.min(...places) - 80)));
    const last = text.indexOf(" ", first + 240);
    const excerpt = document.createElement("p");
    excerpt.className = "context";
    excerpt.textContent = `… ${text.slice(first, last < 0 ? text.length : last).trim()} …`;
    result.append(excerpt);
  };

  new MutationObserver((records) => {
    for (const { addedNodes } of records)
      for (const node of addedNodes) if (node.matches?.("ul.search > li")) addExcerpt(node);
  }).observe(document.getElementById("search-results"), { childList: true, subtree: true });
  document.querySelectorAll("#search-results ul.search > li").forEach(addExcerpt); // the first was quicker than this
});
