"use strict";
// Follows the choice that the Hub's own pages keep (its js/darkmode.js), else the system's.
(() => {
  const KEY = "jupyterhub-bs-theme";
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  const stored = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null;
    }
  };

  const theme = () => {
    const choice = stored();
    if (choice === "dark" || choice === "light") return choice;
    return dark.matches ? "dark" : "light";
  };

  const show = () =>
    document.documentElement.setAttribute("data-bs-theme", theme());

  show();
  dark.addEventListener("change", show);
  window.addEventListener("storage", show);
  window.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("jhm-theme");
    button.hidden = false;
    button.addEventListener("click", () => {
      const next = theme() === "dark" ? "light" : "dark";
      try {
        localStorage.setItem(KEY, next);
      } catch {
        // without storage the choice holds for this page only
      }
      document.documentElement.setAttribute("data-bs-theme", next);
    });
  });
})();
