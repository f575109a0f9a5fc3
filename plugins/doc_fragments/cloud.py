# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options with which a module reaches a cloud, written once."""

from __future__ import annotations


class ModuleDocFragment:
    """Connection options; keep in step with module_utils/_cloud.py: argument_spec."""

    DOCUMENTATION = r"""
options:
  cloud:
    description:
      - Name of the cloud in clouds.yaml.
    type: str
    required: true
  clouds_yaml:
    description:
      - The clouds.yaml to read. Then no other file is looked at, except a C(secure.yaml) beside it, and no C(OS_*)
        variable.
      - By default openstacksdk searches its usual places.
    type: path
  region_name:
    description:
      - Name of the region. By default the one in clouds.yaml.
    type: str
  interface:
    description:
      - Which endpoints of the catalogue to use. By default the one in clouds.yaml, else V(public).
    type: str
    choices: [public, internal, admin]
  api_timeout:
    description:
      - Seconds to wait for one answer of an API.
    type: int
    default: 30
  ca_cert:
    description:
      - File with the certificates of the authorities to trust. By default the one in clouds.yaml.
    type: path
  validate_certs:
    description:
      - Whether the cloud's TLS certificates are checked. By default as clouds.yaml says, else yes.
    type: bool
requirements:
  - openstacksdk >= 4.0.0
"""
