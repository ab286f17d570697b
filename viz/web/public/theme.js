// Applies the chosen colours before the first paint, so that the page does not flash.
(function () {
  try {
    var theme = localStorage.getItem("weft-theme");
    if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
  } catch (_) {
    // Without storage, the system's colours apply.
  }
})();
