# SPDX-License-Identifier: GPL-2.0-only
# What a kernel tree has of the features in tables (features.toml; README.md is the format): -DNAME=0 or -DNAME=1 for
# each, for the compiler, and by-version:NAME=0|1:FILE for those that the tree could not be asked for.
#
# In the environment: tree, the sources; version, theirs, as 7.2. A table that cannot be read, or that says what does not
# belong on a command line, gives a message, exit status 1 and no word at all.

function fail(why) {
	if (!failed)
		print why | "cat 1>&2"
	failed = 1
	exit 1
}

function wrong(why) {
	fail(FILENAME ":" FNR ": " why)
}

function odd(why) {
	fail(started ": " why)
}

# The string behind the `=`, as TOML has it on one line, without escapes.
function string_of(text,   quote, end) {
	quote = substr(text, 1, 1)
	if (quote != "\"" && quote != "\047")
		wrong("a value is a string in quotes")
	text = substr(text, 2)
	end = index(text, quote)
	if (!end)
		wrong("a string without its end")
	if (substr(text, end + 1) !~ /^[ \t]*(#.*)?$/)
		wrong("something behind a string")
	text = substr(text, 1, end - 1)
	if (quote == "\"" && index(text, "\\"))
		wrong("an escape; write it in single quotes")
	return text
}

function number_of(dotted,   part) {
	split(dotted, part, ".")
	return part[1] * 10000 + part[2]
}

# Whether a line of the file has the words; -1 without the file.
function has(path, words,   line, got, found) {
	while ((got = (getline line < path)) > 0)
		if (index(line, words)) {
			found = 1
			break
		}
	close(path)
	return got < 0 ? -1 : found + 0
}

# The feature that was read last.
function answer(   name, file, there) {
	if (!started)
		return
	name = of["define"]
	file = of["file"]
	if (name !~ /^[A-Z][A-Z0-9_]*$/ || name in known)
		odd("define = \"" name "\" is no name for a macro, or the second of that name")
	if (file !~ /^[A-Za-z0-9_][A-Za-z0-9_.\/-]*$/ || file ~ /\.\./)
		odd("file = \"" file "\" is no path in a tree")
	if (of["words"] == "")
		odd("no words to look for")
	if (of["since"] !~ /^([0-9]+\.[0-9]+)?$/)
		odd("since = \"" of["since"] "\" is no version")
	known[name]
	there = has(tree "/" file, of["words"])
	if (there < 0) {
		if (of["since"] == "")
			odd(name ": the tree has no " file ", and no version is said to have it")
		there = number_of(version) >= number_of(of["since"])
		words[++n] = "by-version:" name "=" there ":" file
	}
	words[++n] = "-D" name "=" there
}

BEGIN {
	tree = ENVIRON["tree"]
	version = ENVIRON["version"]
	if (version !~ /^[0-9]+\.[0-9]+$/)
		fail("\"" version "\" is no version of a kernel")
	if (has(tree "/Makefile", "") < 0)
		fail("there is no source tree at \"" tree "\"")
}

/^[ \t]*(#.*)?$/ {
	next
}

/^\[\[feature\]\][ \t]*(#.*)?$/ {
	answer()
	split("", of)
	started = FILENAME ":" FNR
	next
}

/^[a-z]+[ \t]*=/ {
	key = $0
	sub(/[ \t]*=.*/, "", key)
	if (!started || key !~ /^(define|file|words|since|commit)$/ || key in of)
		wrong("\"" key "\" is no key here")
	value = $0
	sub(/^[a-z]+[ \t]*=[ \t]*/, "", value)
	of[key] = string_of(value)
	next
}

{
	wrong("neither a key nor [[feature]]")
}

END {
	if (!failed)
		answer()
	if (failed)
		exit 1
	for (i = 1; i <= n; i++)
		print words[i]
}
