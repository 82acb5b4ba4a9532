// SPDX-License-Identifier: GPL-2.0-only
// Looks for words in the index beside it, shard by shard, the newest first. Nothing leaves the page.
"use strict";
const most = 200;
const input = document.getElementById("find");
const shards = input.dataset.shards.split(" ").filter(Boolean);
const entries = [];
let loaded = 0;
window.ttmIndex = (rows) => {
	for (const [kind, text, path, note] of rows) entries.push({ kind, text, path, note, low: (kind + " " + text).toLowerCase() });
};
function load(done) {
	if (loaded === shards.length) return;
	const script = document.createElement("script");
	script.src = shards[loaded++];
	script.onload = script.onerror = done;
	document.head.append(script);
}
function cell(row, text, name) {
	const made = row.insertCell();
	made.className = name || "";
	made.textContent = text;
	return made;
}
function show() {
	const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
	const table = document.getElementById("found");
	table.replaceChildren();
	if (!words.length) return;
	const found = entries.filter((one) => words.every((word) => one.low.includes(word)));
	for (const one of found.slice(0, most)) {
		const row = table.insertRow();
		cell(row, one.kind, "dim");
		const link = document.createElement("a");
		link.href = one.path;
		link.textContent = one.text;
		cell(row, "", "").append(link);
		cell(row, one.note, "dim");
	}
	const more = loaded < shards.length ? ", looking further" : "";
	const shown = found.length > most ? ", the first " + most + " are shown" : "";
	document.getElementById("count").textContent = found.length + " found" + shown + more;
	if (found.length < most) load(show);
}
let waiting = 0;
input.addEventListener("input", () => {
	clearTimeout(waiting);
	waiting = setTimeout(show, 120);
});
const asked = decodeURIComponent(location.hash.slice(1));
if (asked) {
	input.value = asked;
	show();
}
