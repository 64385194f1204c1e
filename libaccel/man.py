#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the man pages of section 3 out of accel.h, so that they say what it says.

man.py HEADER --list                       names of the pages, one a line
man.py HEADER TEMPLATE VERSION FOLDER      writes them; TEMPLATE becomes libaccel.3

Each part of the header ("/* ---- Devices ---- */") is a page, accel_devices(3); each function has
one that leads to it.
"""
import re
import sys
from pathlib import Path

GROUP = re.compile(r"^/\* ---- (.+?) -+(?: \*/)?$", re.M)
ITEM = re.compile(r"/\*\*\n?(?P<doc>.*?)\*/\n(?P<code>[^\n]*(?:\n(?!\n|/\*\*|/\* ----)[^\n]*)*)", re.S)
# attributes(7): who may not be told apart from the rest by the rule of the header.
DESTROYS = re.compile(r"accel_\w+_(destroy|close)$|accel_cache_free$")


def escape(text):
    """Characters that mean something to troff."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.M)


def markup(text):
    """@p and @c words, function names, enum names."""
    out = escape(text)
    out = re.sub(r"@[pc] \*?([A-Za-z_0-9*]+)", r"\\fI\1\\fP", out)
    return out.replace("@file", "")


def prose(doc):
    """A comment as paragraphs and lists."""
    lines = [re.sub(r"^\s*\*? ?", "", line).rstrip() for line in doc.strip().splitlines()]
    out, previous = [], ""
    for line in lines:
        if not line:
            if out and out[-1] != ".PP":
                out.append(".PP")
        elif line.startswith(" - ") or line.startswith("- "):
            out += [".IP \\(bu 2", markup(line.split("- ", 1)[1])]
        else:
            out.append(markup(line.strip()))
        previous = line
    del previous
    while out and out[-1] == ".PP":
        out.pop()
    return "\n".join(out)


class Group:
    """A part of the header: its introduction, and what it declares."""

    def __init__(self, title, text):
        self.title = title
        self.name = "accel_" + title.lower().replace(" ", "_")
        self.functions, self.types = [], []
        head = re.match(r"((?:\s*\*[^\n]*\n)*?)\s*\*/", text)
        self.intro = prose(head.group(1)) if head else ""
        for item in ITEM.finditer(text):
            self._add(item.group("doc"), item.group("code"))

    def _add(self, doc, code):
        function = re.match(r"(?:ACCEL_API)\s+(.*?);", code, re.S)
        if function:
            proto = re.sub(r"\s+", " ", function.group(1))
            name = re.search(r"(accel_\w+)\(", proto).group(1)
            self.functions.append((name, proto, doc))
        elif not code.startswith("static inline"):
            self.types.append((code, doc))


def groups(header):
    """All parts of the header that declare functions, in its order."""
    text = Path(header).read_text(encoding="utf-8")
    marks = list(GROUP.finditer(text))
    ends = [m.start() for m in marks[1:]] + [text.rindex("#ifdef __cplusplus")]
    found = [Group(m.group(1), text[m.end():end]) for m, end in zip(marks, ends)]
    return [g for g in found if g.functions]


def synopsis(proto):
    """A prototype, its parameters in italics."""
    before, names = proto.split("(", 1)
    names = names.rstrip(")").split(", ")
    shown = [re.sub(r"(\w+)$", r"\\fI\1\\fP", escape(n)) if n != "void" else n for n in names]
    return f"\\fB{escape(before)}\\fP({', '.join(shown)});"


def code_block(code):
    """A declaration as it stands."""
    return "\n".join((".sp", ".nf", ".ft CW", escape(code.rstrip().expandtabs(8)), ".ft P", ".fi"))


def safety(name):
    """The thread safety of a function."""
    if DESTROYS.search(name):
        return "MT-Safe, unless the object is in use"
    if name == "accel_multi_matmul":
        return "MT-Safe (calls wait for each other)"
    return "MT-Safe"


def page(group, others, version):
    """The text of a page."""
    names = ", ".join(escape(f[0]) for f in group.functions)
    out = ["'\\\" t", ".\\\" SPDX-License-Identifier: MIT", ".\\\" Made from accel.h: do not edit.",
           f'.TH {group.name.upper()} 3 "" "libaccel {version}" "Library functions"',
           ".SH NAME", f"{names} \\- libaccel: {group.title.lower()}", ".SH SYNOPSIS", ".nf",
           ".B #include <accel/accel.h>", ".sp"]
    out += [synopsis(proto) for _, proto, _ in group.functions]
    out += [".fi", ".sp", "Compile and link with \\fIpkg\\-config \\-\\-cflags \\-\\-libs libaccel\\fP.",
            ".SH DESCRIPTION"]
    if group.intro:
        out += [group.intro]
    for name, _, doc in group.functions:
        out += [f".SS {escape(name)}()", prose(doc)]
    if group.types:
        out += [".SH TYPES AND CONSTANTS"]
    for code, doc in group.types:
        out += [".PP", prose(doc), code_block(code)]
    out += [".SH RETURN VALUE", "Functions that return \\fIint\\fP return 0 or a negative errno value, unless it says "
            "otherwise above;", "\\fBaccel_error_detail\\fP(3) then tells the reason in words.",
            ".SH ATTRIBUTES", ".TS", "allbox;", "l l l.", "Interface\tAttribute\tValue"]
    out += [f"{escape(name)}()\tThread safety\t{escape(safety(name))}" for name, _, _ in group.functions]
    out += [".TE", ".SH SEE ALSO", ".BR libaccel (3),",
            ",\n".join(f".BR {escape(g.name)} (3)" for g in others if g is not group)]
    return "\n".join(out).replace("(3)\n,", "(3),").replace("(3),\n.BR", "(3),\n.BR") + "\n"


def index(all_groups):
    """What stands for @FUNCTIONS@ in the template."""
    out = []
    for group in all_groups:
        names = ", ".join(escape(f[0]) for f in group.functions)
        out += [".TP", f".BR {escape(group.name)} (3)", names]
    return "\n".join(out)


def main():
    """See above."""
    header, rest = sys.argv[1], sys.argv[2:]
    all_groups = groups(header)
    if rest == ["--list"]:
        print("libaccel.3")
        for group in all_groups:
            print(f"{group.name}.3")
            for name, _, _ in group.functions:
                print(f"{name}.3")
        return
    template, version, folder = rest
    folder = Path(folder)
    text = Path(template).read_text(encoding="utf-8")
    text = text.replace("@FUNCTIONS@", index(all_groups)).replace("@VERSION@", version)
    (folder / "libaccel.3").write_text(text, encoding="utf-8")
    for group in all_groups:
        (folder / f"{group.name}.3").write_text(page(group, all_groups, version), encoding="utf-8")
        for name, _, _ in group.functions:
            (folder / f"{name}.3").write_text(f".so man3/{group.name}.3\n", encoding="utf-8")


main()
