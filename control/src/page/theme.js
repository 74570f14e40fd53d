// Before anything is drawn: a page that is light first and dark then would flash. The button is
// wired by page.js.
document.documentElement.dataset.theme = (() => {
  try {
    return localStorage.getItem("weir-theme") ?? "auto";
  } catch {
    return "auto";
  }
})();
