// What the theme makes in the browser: tables that are wider than the page get the keyboard, so that it can scroll them,
// and the bars of code blocks are no landmarks, of which a page would have dozens.
new MutationObserver(() => {
  for (const bar of document.querySelectorAll("nav.md-code__nav:not([role])")) bar.setAttribute("role", "presentation");
  for (const wide of document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])"))
    if (wide.scrollWidth > wide.clientWidth) wide.setAttribute("tabindex", "0");
}).observe(document.body, { childList: true, subtree: true });
