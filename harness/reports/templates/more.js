// SPDX-License-Identifier: GPL-2.0-only
// Unfolds the cases and plots of a boot when somebody opens them; they lie packed at the end of the page.
"use strict";
let boots = null;
async function unpack() {
	const text = document.getElementById("more").textContent.trim();
	const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
	const whole = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
	return JSON.parse(await new Response(whole).text());
}
function put(parent, tag, text, name) {
	const made = document.createElement(tag);
	made.textContent = text;
	if (name) made.className = name;
	parent.append(made);
	return made;
}
function cases(place, rows) {
	const table = put(place, "table", "", "");
	for (const [outcome, color, name, time, message] of rows) {
		const row = put(table, "tr", "", "");
		put(put(row, "td", "", ""), "span", outcome, "word " + color);
		put(row, "td", name, "id");
		put(row, "td", time, "n");
		put(row, "td", message, "");
	}
}
function plot(place, svg) {
	const image = put(place, "img", "", "");
	const bytes = new TextEncoder().encode(svg);
	image.alt = "RAM, swap, pressure and the shrinker over time";
	image.src = "data:image/svg+xml;base64," + btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}
async function unfold(place) {
	if (place.dataset.done || !place.open) return;
	place.dataset.done = "1";
	try {
		boots = boots || unpack();
		const boot = (await boots)[Number(place.dataset.boot)];
		if (place.dataset.what === "plot") plot(place, boot.plot);
		else cases(place, boot.cases);
	} catch (error) {
		put(place, "p", "This browser cannot unfold it: " + error, "doubt");
	}
}
for (const place of document.querySelectorAll("details.more")) {
	place.addEventListener("toggle", () => unfold(place));
	unfold(place);
}
