"use strict";
// Fills the usage card of the Hub's home page and the usage panel of its admin page. It asks the
// Hub, with the Hub's own XSRF token; where nobody answers, nothing is shown.
(() => {
  const link = (href, text, look) => {
    const element = document.createElement("a");
    element.href = href;
    element.textContent = text;
    element.className = look;
    return element;
  };

  const button = (href, text) => link(href, text, "btn btn-sm btn-outline-primary");

  const servers = (count) =>
    count === 0 ? "No server runs" : count === 1 ? "1 server runs" : `${count} servers run`;

  const fillHome = (place, { own, everyone, groups }) => {
    const service = place.dataset.service;
    const gpus = own.gpu_hours === null ? "" : `, ${own.gpu_hours} GPU-hours`;
    place.querySelector("[data-text]").textContent =
      `${own.hours} hours${gpus} in ${own.month}, ${own.last_hours} hours in ${own.last_month}. ` +
      `${servers(own.running)} now.`;
    const links = place.querySelector("[data-links]");
    links.append(button(service, "My usage"));
    for (const group of groups) {
      links.append(button(`${service}groups/${encodeURIComponent(group)}`, `Usage of ${group}`));
    }
    if (everyone) links.append(button(`${service}users`, "Everyone’s usage"));
    place.hidden = false;
  };

  const fillAdmin = (place, { everyone }) => {
    if (!everyone) return;
    const service = place.dataset.service;
    place.querySelector("[data-text]").textContent =
      `${servers(everyone.running)} now. In ${everyone.month}, ${everyone.users} ` +
      `${everyone.users === 1 ? "user" : "users"} had a server.`;
    const table = place.querySelector("[data-table]");
    place.querySelector("[data-caption]").textContent = `Who used most in ${everyone.month}`;
    for (const { name, hours, gpu_hours } of everyone.top) {
      const row = table.tBodies[0].insertRow();
      const head = document.createElement("th");
      head.scope = "row";
      head.append(link(`${service}users/${encodeURIComponent(name)}`, name, ""));
      row.append(head);
      for (const amount of [hours, gpu_hours]) {
        const cell = row.insertCell();
        cell.className = "text-end";
        cell.textContent = amount;
      }
    }
    table.hidden = everyone.top.length === 0;
    place.querySelector("[data-search]").hidden = !everyone.searchable;
    place.querySelector("[data-links]").append(
      button(`${service}users`, "Everyone’s usage"),
      button(`${service}running`, "Running now"),
      button(`${service}recording`, "Recording"),
    );
    place.hidden = false;
  };

  const fill = async () => {
    const home = document.getElementById("jupyterhub-metrics-home");
    const admin = document.getElementById("jupyterhub-metrics-admin");
    const place = home || admin;
    if (!place) return;
    const answer = await fetch(place.dataset.summary, {
      headers: { "X-XSRFToken": window.jhdata?.xsrf_token ?? "" },
    });
    if (!answer.ok) return;
    const summary = await answer.json();
    if (home) fillHome(home, summary);
    if (admin) fillAdmin(admin, summary);
  };

  fill().catch(() => {});
})();
