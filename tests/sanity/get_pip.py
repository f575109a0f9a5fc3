# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install pip into an environment of ansible-test without a download: what ansible-test calls its get-pip script."""

from __future__ import annotations

import ensurepip
import os
import subprocess
import sys


def main() -> int:
    """Bring pip with ensurepip, then let it install the packages that the arguments name."""
    ensurepip.bootstrap()
    # ensurepip turns pip's configuration off, in which a proxy or a certificate may stand.
    os.environ.pop("PIP_CONFIG_FILE", None)
    packages = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    return subprocess.call([sys.executable, "-m", "pip", "install", "--quiet", *packages])


if __name__ == "__main__":
    sys.exit(main())
