"""Texts as ibnetdiscover prints them, of fabrics of any size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def printed(
    switches: Iterable[str],
    cables: Iterable[tuple[str, str]],
    hosts: Mapping[str, Iterable[str]],
    rate: str = "4xNDR",
) -> str:
    """switches: names; cables: pairs of them; hosts: for each the switch of each of its adapters."""
    guids = {name: f"S-900a8403{number:08x}" for number, name in enumerate(switches, 1)}
    lines = ["#", "# Topology file: generated on Tue Jun  5 14:15:10 2029", "#", ""]
    ports: dict[str, list[str]] = {name: [] for name in guids}
    adapters: list[str] = []
    for first, second in cables:
        for one, other in ((first, second), (second, first)):
            ports[one].append(f'"{guids[other]}"[3]\t\t# "MF0;{other}:MQM9700/U1" lid 5 {rate}')
    for host, leaves in hosts.items():
        for number, leaf in enumerate(leaves):
            guid = f"H-0c42a1{len(adapters):010x}"
            ports[leaf].append(f'"{guid}"[1]({guid[2:]}) \t\t# "{host} mlx5_{number}" lid 12 {rate}')
            adapters += [
                f'caguid=0x{guid[2:]}\nCa\t1 "{guid}"\t\t# "{host} mlx5_{number}"\n'
                f'[1]({guid[2:]}) \t"{guids[leaf]}"[1]\t\t# lid 12 lmc 0 "MF0;{leaf}:MQM9700/U1" {rate}\n'
            ]
    for name, guid in guids.items():
        lines += ["vendid=0x2c9", f"switchguid=0x{guid[2:]}({guid[2:]})"]
        lines.append(f'Switch\t65 "{guid}"\t\t# "MF0;{name}:MQM9700/U1" enhanced port 0 lid 5 lmc 0')
        lines += [f"[{number}]\t{port}" for number, port in enumerate(ports[name], 1)]
        # In-network computing is an adapter of the switch itself.
        lines += [
            f'[65]\t"H-0{guid[3:]}"[1](1) \t\t# "Mellanox Technologies Aggregation Node" lid 9 {rate}',
            "",
        ]
    return "\n".join([*lines, *adapters])
