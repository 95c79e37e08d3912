"use strict";
// Turns the page's UTC times into the browser's zone; without this script they stay as they are.
(() => {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (!zone) return;
  const format = new Intl.DateTimeFormat("en-CA", {
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hourCycle: "h23",
  });
  for (const element of document.querySelectorAll("time[datetime]")) {
    const part = {};
    for (const { type, value } of format.formatToParts(
      new Date(element.dateTime),
    )) {
      part[type] = value;
    }
    element.textContent = `${part.year}-${part.month}-${part.day} ${part.hour}:${part.minute}:${part.second}`;
  }
  for (const label of document.querySelectorAll(".jhm-zone")) {
    label.textContent = zone.replaceAll("_", " ");
  }
})();
