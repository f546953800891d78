// Formulas too wide for the page scroll, and so must be reachable by the keyboard. (The theme sees to code and tables.)
window.addEventListener("load", () => {
  const reachable = () => {
    for (const formula of document.querySelectorAll("mjx-container[display=true]")) {
      if (formula.scrollWidth > formula.clientWidth) formula.tabIndex = 0;
      else formula.removeAttribute("tabindex");
    }
  };
  window.MathJax?.startup?.promise.then(reachable);
  window.addEventListener("resize", reachable);
});
