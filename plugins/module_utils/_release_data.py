# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tells a release of each service: its versions, what its API offers, the heads of its databases, its records.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

Written by tools/releases.py, which says how to add a release. It is Python because nothing else travels to the hosts.
A fact is ``release=value`` for each release with which it changed, oldest first; ``?`` is what is not known, ``a|b``
are alternatives, ``a..b`` is a range. ``versions`` begin a release, ``end`` is newer than all of them.
"""

from __future__ import annotations

# Number, codename, and whether it is a SLURP release.
RELEASES: tuple[tuple[str, str, bool], ...] = (
    ("yoga", "Yoga", False),
    ("zed", "Zed", False),
    ("2023.1", "Antelope", True),
    ("2023.2", "Bobcat", False),
    ("2024.1", "Caracal", True),
    ("2024.2", "Dalmatian", False),
    ("2025.1", "Epoxy", True),
    ("2025.2", "Flamingo", False),
    ("2026.1", "Gazpacho", True),
    ("2026.2", "Hibiscus", False),
)

SERVICES: dict[str, dict[str, str]] = {
    "barbican": {
        "distribution": "barbican",
        "versions": (
            "yoga=14.0 zed=15.0 2023.1=16.0 2023.2=17.0 2024.1=18.0 2024.2=19.0 2025.1=20.0 2025.2=21.0 "
            "2026.1=22.0 2026.2=23.0"
        ),
        "end": "24.0",
        "api": "zed=1.1",
        "heads main": "yoga=0f8c192a061f zed=8c74e2d7f1ff",
    },
    "cinder": {
        "distribution": "cinder",
        "versions": (
            "yoga=20.0 zed=21.0 2023.1=22.0 2023.2=23.0 2024.1=24.0 2024.2=25.0 2025.1=26.0 2025.2=27.0 "
            "2026.1=28.0 2026.2=29.0"
        ),
        "end": "30.0",
        "api": "yoga=3.68 zed=3.70 2024.1=3.71",
        "heads main": (
            "yoga=921e1a36b076 zed=c92a3e68beed 2023.1=daa98075b90d 2023.2=89aa6f9639f9 2024.1=9c74c1c6971f"
        ),
    },
    "designate": {
        "distribution": "designate",
        "versions": (
            "yoga=14.0 zed=15.0 2023.1=16.0 2023.2=17.0 2024.1=18.0 2024.2=19.0 2025.1=20.0 2025.2=21.0 "
            "2026.1=22.0 2026.2=23.0"
        ),
        "end": "24.0",
        "api": "yoga=v2 zed=v2.0 2023.1=v2.1 2025.2=v2.2 2026.2=v2.4",
        "heads main": "2023.2=a005af3aa38e 2024.1=9099de8ae11c 2025.2=f828412479ee 2026.2=f49c4409c8ba",
    },
    "glance": {
        "distribution": "glance",
        "versions": (
            "yoga=24.0 zed=25.0 2023.1=26.0 2023.2=27.0 2024.1=28.0 2024.2=29.0 2025.1=30.0 2025.2=31.0 "
            "2026.1=32.0 2026.2=33.0"
        ),
        "end": "34.0",
        "api": "yoga=v2.15|v2.16 2024.2=v2.17 2026.2=v2.17|v2.18",
        "heads contract": "yoga=wallaby_contract01 2023.1=2023_1_contract01 2024.1=2024_1_contract01",
        "heads expand": "yoga=wallaby_expand01 2023.1=2023_1_expand01 2024.1=2024_1_expand01",
    },
    "heat": {
        "distribution": "openstack-heat",
        "versions": (
            "yoga=18.0 zed=19.0 2023.1=20.0 2023.2=21.0 2024.1=22.0 2024.2=23.0 2025.1=24.0 2025.2=25.0 "
            "2026.1=26.0 2026.2=27.0"
        ),
        "end": "28.0",
        "heads main": "2023.2=c6214ca60943 2026.1=97b2a986f922",
    },
    "ironic": {
        "distribution": "ironic",
        "versions": (
            "yoga=19.0 zed=20.2 2023.1=21.2 2023.2=22.0 2024.1=23.1 2024.2=25.0 2025.1=27.0 2025.2=30.0 "
            "2026.1=33.0 2026.2=36.0"
        ),
        "end": "40.0",
        "api": (
            "yoga=1.78 zed=1.78..1.80 2023.1=1.80..1.82 2023.2=1.83..1.87 2024.1=1.88..1.90 2024.2=1.91..1.93 "
            "2025.1=1.94..1.96 2025.2=1.99..1.101 2026.1=1.104..1.111 2026.2=1.112..1.115"
        ),
        "heads main": (
            "yoga=9ef41f07cb58 2023.1=4dbec778866e 2023.2=aa2384fee727 2024.1=01f21d5e5195 2024.2=66bd9c5604d5 "
            "2025.1=21c48150dea9 2025.2=3ef27505c9fb 2026.1=2a3b4c5d6e7f 2026.2=9fb44677ef15"
        ),
    },
    "keystone": {
        "distribution": "keystone",
        "versions": (
            "yoga=21.0 zed=22.0 2023.1=23.0 2023.2=24.0 2024.1=25.0 2024.2=26.0 2025.1=27.0 2025.2=28.0 "
            "2026.1=29.0 2026.2=30.0"
        ),
        "end": "31.0",
        "api": "yoga=v3.14",
        "heads contract": "yoga=e25ffa003242 2023.2=c88cdce8f248",
        "heads expand": (
            "yoga=29e87d24a316 2023.2=11c3b243b4cb 2024.1=47147121 2025.2=e8725d6fa226 2026.1=742c857f1dfb"
        ),
    },
    "magnum": {
        "distribution": "magnum",
        "versions": (
            "yoga=14.0 zed=15.0 2023.1=16.0 2023.2=17.0 2024.1=18.0 2024.2=19.0 2025.1=20.0 2025.2=21.0 "
            "2026.1=22.0 2026.2=23.0"
        ),
        "end": "24.0",
        "api": "yoga=1.10 2023.2=1.11 2025.2=1.12 2026.2=1.14",
        "heads main": "yoga=7da8489d6a68 2024.1=c0f832afc4fd 2026.2=b3e1cf4a2d5e",
    },
    "manila": {
        "distribution": "manila",
        "versions": (
            "yoga=14.0 zed=15.0 2023.1=16.0 2023.2=17.0 2024.1=18.0 2024.2=19.0 2025.1=20.0 2025.2=21.0 "
            "2026.1=22.0 2026.2=23.0"
        ),
        "end": "24.0",
        "api": (
            "yoga=2.70 zed=2.73 2023.1=2.78 2023.2=2.82 2024.1=2.85 2024.2=2.87 2025.1=2.89 2025.2=2.91 "
            "2026.1=2.95 2026.2=2.99"
        ),
        "heads main": (
            "yoga=a87e0fb17dee zed=bb5938d74b73 2023.1=aebe2a413e13 2023.2=2d708a9a3ba9 2024.1=2f27d904214c "
            "2024.2=cdefa6287df8 2025.1=0d8c8f6d54a4 2025.2=e975ea83b712 2026.1=004e506e922e 2026.2=afc3b5e1f406"
        ),
    },
    "neutron": {
        "distribution": "neutron",
        "versions": (
            "yoga=20.0 zed=21.0 2023.1=22.0 2023.2=23.0 2024.1=24.0 2024.2=25.0 2025.1=26.0 2025.2=27.0 "
            "2026.1=28.0 2026.2=29.0"
        ),
        "end": "30.0",
        "heads contract": "yoga=5c85685d616d",
        "heads expand": (
            "yoga=34cf8b009713 zed=5881373af7f5 2023.1=fc153938cdc1 2023.2=89c58a70ceba 2024.1=0e6eff810791 "
            "2024.2=5bcb7b31ec7d 2025.1=ad80a9f07c5c 2025.2=d553edeb540f 2026.1=b1bca967e19d 2026.2=c7f8d9e0f1a2"
        ),
    },
    "nova": {
        "distribution": "nova",
        "versions": (
            "yoga=25.0 zed=26.0 2023.1=27.0 2023.2=28.0 2024.1=29.0 2024.2=30.0 2025.1=31.0 2025.2=32.0 "
            "2026.1=33.0 2026.2=34.0"
        ),
        "end": "35.0",
        "api": "yoga=2.90 zed=2.93 2023.1=2.95 2024.1=2.96 2025.1=2.100 2026.1=2.103 2026.2=2.104",
        "record": "yoga=61 zed=64 2023.1=66 2024.1=67 2025.1=68 2025.2=70 2026.1=72 2026.2=74",
        "heads api": "yoga=b30f573d3377 2023.2=cdeec0c85668",
        "heads main": (
            "yoga=16f1fbcab42b zed=ccb0fa1a2252 2023.1=960aac0e09ea 2023.2=1acf2c98e646 2024.1=13863f4e1612 "
            "2025.1=2903cd72dc14 2026.2=ab450ba04102"
        ),
    },
    "octavia": {
        "distribution": "octavia",
        "versions": (
            "yoga=10.0 zed=11.0 2023.1=12.0 2023.2=13.0 2024.1=14.0 2024.2=15.0 2025.1=16.0 2025.2=17.0 "
            "2026.1=18.0 2026.2=19.0"
        ),
        "end": "20.0",
        "api": "yoga=v2.25 zed=v2.26 2023.2=v2.27 2024.1=v2.28 2025.1=v2.30",
        "heads main": (
            "yoga=6ac558d7fc21 zed=0995c26fc506 2023.2=632152d2d32e 2024.1=db2a73e82626 2025.1=fabf4983846b"
        ),
    },
    "placement": {
        "distribution": "openstack-placement",
        "versions": (
            "yoga=7.0 zed=8.0 2023.1=9.0 2023.2=10.0 2024.1=11.0 2024.2=12.0 2025.1=13.0 2025.2=14.0 2026.1=15.0 "
            "2026.2=16.0"
        ),
        "end": "17.0",
        "api": "yoga=1.39",
        "heads main": "yoga=422ece571366 2023.2=a082b8bb98d0",
    },
    "swift": {
        "distribution": "swift",
        "versions": (
            "yoga=2.29 zed=2.30 2023.1=2.31 2023.2=2.32 2024.1=2.33 2024.2=2.34 2025.1=2.35 2025.2=2.36 "
            "2026.1=2.37 2026.2=2.38"
        ),
        "end": "2.39",
    },
}
