# SPDX-License-Identifier: GPL-2.0-only
"""What the readers of JUnit XML ask of a file, as rules of our own made from their documentation.

Two readers: the xUnit plugin of Jenkins (its `junit-10` form) and Maven's Surefire (`surefire-test-report`). No
package ships their schemas, so what they say is written down here: elements, their order, attributes, values.
"""

from __future__ import annotations

import re
from collections import Counter
from xml.etree import ElementTree

_COUNT = re.compile(r"[0-9]{1,9}")
_TIME = re.compile(r"[0-9]{1,9}(\.[0-9]{1,3})?")  # Surefire's: three digits at most, no exponent, no sign
_ANY = re.compile(r"(?s).*")
_NAME = re.compile(r"[^\n\r\t]+")

# Attributes that both readers know: form, and whether one of them demands it.
_ATTRIBUTES: dict[str, dict[str, tuple[re.Pattern[str], bool]]] = {
    "testsuites": {
        "name": (_ANY, False),
        "time": (_TIME, False),
        "tests": (_COUNT, False),
        "failures": (_COUNT, False),
        "errors": (_COUNT, False),
    },
    "testsuite": {
        "name": (_NAME, True),
        "tests": (_COUNT, True),
        "failures": (_COUNT, True),
        "errors": (_COUNT, True),
        "skipped": (_COUNT, True),
        "time": (_TIME, False),
    },
    "properties": {},
    "property": {"name": (_NAME, True), "value": (_ANY, True)},
    "testcase": {"name": (_NAME, True), "classname": (_NAME, True), "time": (_TIME, False)},
    "failure": {"message": (_ANY, False), "type": (_NAME, True)},
    "error": {"message": (_ANY, False), "type": (_NAME, True)},
    "skipped": {"message": (_ANY, False)},
    "system-out": {},
}
# The children of an element, in the order in which they have to come: a regular expression over their tags.
_CHILDREN = {
    "testsuites": r"(testsuite )*",
    "testsuite": r"(properties )?(testcase )*",
    "properties": r"(property )+",
    "testcase": r"((skipped |error |failure )(system-out )?|(system-out )?)",
}


def complaints(text: str) -> list[str]:
    """What the readers would refuse or get wrong, a sentence each; empty for a good file."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        return [f"not XML: {error}"]
    found = [] if root.tag == "testsuites" else [f"the root is {root.tag}"]
    for element in root.iter():
        found += _element(element)
    for suite in root.iter("testsuite"):
        found += _counts(suite)
    names = Counter((case.get("classname"), case.get("name")) for case in root.iter("testcase"))
    return found + [f"{name} stands {times} times" for name, times in names.items() if times > 1]


def _element(element: ElementTree.Element) -> list[str]:
    known = _ATTRIBUTES.get(element.tag)
    if known is None:
        return [f"no reader knows <{element.tag}>"]
    found = [
        f"<{element.tag}> has no {name}" for name, (_, asked) in known.items() if asked and name not in element.attrib
    ]
    for name, value in element.attrib.items():
        if name not in known:
            found.append(f"<{element.tag}> has {name}")
        elif not known[name][0].fullmatch(value):
            found.append(f"{name}={value!r} of <{element.tag}>")
    children = "".join(f"{child.tag} " for child in element)
    if not re.fullmatch(_CHILDREN.get(element.tag, ""), children):
        found.append(f"<{element.tag}> holds {children.strip()}")
    return found


def _counts(suite: ElementTree.Element) -> list[str]:
    cases = suite.findall("testcase")
    told = {"tests": len(cases)}
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        told[attribute] = sum(case.find(tag) is not None for case in cases)
    return [
        f"{name} of {suite.get('name')} is not {count}"
        for name, count in told.items()
        if suite.get(name) != f"{count}"
    ]
