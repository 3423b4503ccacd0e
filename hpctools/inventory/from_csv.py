"""Hosts from a table: CSV with a line of column names, as spreadsheets and asset databases write it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass

from hpctools.errors import InvalidInput, ParseError, Problem
from hpctools.inventory.found import Found
from hpctools.inventory.model import Fabric, Gpus
from hpctools.inventory.read import FABRICS
from hpctools.slurm import hostlist, units

NEEDED = ("host", "sockets", "cores_per_socket", "memory")
COLUMNS = (
    *NEEDED,
    *"threads_per_core boards tmp_disk numa_nodes gpu_type gpu_count gpu_memory gpu_model".split(),
    *"fabric hcas rate features switch rack block address weight reserved_cores reserved_memory".split(),
)


@dataclass(frozen=True)
class Table:
    """The hosts of a table, and its columns that are none of COLUMNS."""

    hosts: tuple[Found, ...]
    unused: tuple[str, ...]


def csv_table(text: str, path: str) -> Table:
    """The hosts of a table; one line may stand for many, gpu[001-064]. Raises InvalidInput.

    Columns stand in any order, separated by commas, semicolons or tabs; features by blanks.
    """
    lines = text.removeprefix("\ufeff").split("\n")
    first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    separator = max(",;\t", key=first.count)
    rows = csv.reader(lines, delimiter=separator)
    hosts: list[Found] = []
    problems: list[Problem] = []
    names: list[str] = []
    # csv refuses a field of more than 128 KiB, and a NUL in older releases of Python.
    try:
        for row in rows:
            cells = [cell.strip() for cell in row]
            where = f"{path}:{rows.line_num}"
            if not any(cells) or cells[0].startswith("#"):
                continue
            if not names:
                names = [cell.lower().replace(" ", "_") for cell in cells]
                problems += [Problem(where, f"no column {name}") for name in NEEDED if name not in names]
                problems += [
                    Problem(where, f"the column {name} stands there twice")
                    for name in COLUMNS
                    if names.count(name) > 1
                ]
                if problems:
                    break
            elif len(cells) > len(names):
                problems.append(Problem(where, f"{len(cells)} cells, and there are {len(names)} columns"))
            else:
                hosts += _Row(where, dict(zip(names, cells, strict=False)), problems).hosts()
    except csv.Error as error:
        problems.append(Problem(f"{path}:{rows.line_num}", f"is no CSV: {error}"))
    if problems:
        raise InvalidInput(problems)
    return Table(tuple(hosts), tuple(name for name in names if name and name not in COLUMNS))


@dataclass(frozen=True)
class _Row:
    """One line of the table; what is wrong in it goes to problems."""

    where: str
    cells: Mapping[str, str]
    problems: list[Problem]

    def hosts(self) -> list[Found]:
        one = Found(
            host="",
            sockets=self.number("sockets", 1, low=1),
            cores_per_socket=self.number("cores_per_socket", 1, low=1),
            threads_per_core=self.number("threads_per_core", 1, low=1),
            boards=self.number("boards", 1, low=1),
            memory_mb=self.memory("memory"),
            tmp_disk_mb=self.memory("tmp_disk"),
            numa_nodes=self.number("numa_nodes", 0),
            gpus=self.gpus(),
            fabric=self.fabric(),
            features=tuple(dict.fromkeys(self.text("features").replace(";", " ").replace(",", " ").split())),
            switch=self.text("switch"),
            rack=self.text("rack"),
            block=self.text("block"),
            weight=self.number("weight", 1) if self.text("weight") else None,
            reserved_cores=self.number("reserved_cores", 0),
            reserved_memory_mb=self.memory("reserved_memory"),
        )
        for key in NEEDED:
            if not self.text(key):
                self.say(f"{key} is empty")
        names, addresses = self.names("host"), self.names("address")
        if addresses and len(addresses) != len(names):
            self.say(f"address: {len(addresses)} for {len(names)} hosts")
            addresses = []
        pairs = zip(names, addresses or [""] * len(names), strict=True)
        return [Found(**{**vars(one), "host": name, "address": address}) for name, address in pairs]

    def gpus(self) -> tuple[Gpus, ...]:
        count = self.number("gpu_count", 0)
        type = self.text("gpu_type")
        if bool(count) != bool(type):
            self.say("gpu_type without gpu_count" if type else "gpu_count without gpu_type", "h100 and 8")
        if not (count and type):
            return ()
        return (Gpus(type, count, self.memory("gpu_memory") or None, self.text("gpu_model")),)

    def fabric(self) -> Fabric | None:
        kind = self.text("fabric").lower()
        rate = self.text("rate").rstrip("Gg")
        hcas = self.number("hcas", 0)
        if rate and not (rate.isascii() and rate.isdigit() and len(rate) < 6):
            self.say(f"rate: {rate} is no number of Gbit/s", "400G")
            rate = ""
        if not kind:
            return None
        if kind not in FABRICS:
            self.say(f"fabric: {kind} is none of {', '.join(FABRICS)}")
        return Fabric(kind, hcas, int(rate) if rate else None)

    def say(self, message: str, hint: str = "") -> None:
        self.problems.append(Problem(self.where, message, hint))

    def text(self, key: str) -> str:
        return self.cells.get(key, "")

    def number(self, key: str, default: int, low: int = 0) -> int:
        text = self.text(key)
        if not text:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) >= low):
            self.say(f"{key}: {text[:60]} is no whole number from {low}")
            return default
        return int(text)

    def memory(self, key: str) -> int:
        text = self.text(key)
        try:
            # "2 TB" and "768 GB" are how people write it in tables.
            return units.parse_memory_mb(text.replace(" ", "")) if text else 0
        except ParseError:
            self.say(f"{key}: {text[:60]} is not an amount of memory", "2014G")
            return 0

    def names(self, key: str) -> list[str]:
        text = self.text(key)
        try:
            return hostlist.expand(text)
        except ParseError:
            self.say(f"{key}: {text[:60]} is not a list of names", "gpu[001-064]")
            return []
