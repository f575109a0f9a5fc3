# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all observers that sample have in common, written once."""

from __future__ import annotations


class ModuleDocFragment:
    """Options, notes and attributes of sampling observers."""

    DOCUMENTATION = r"""
options:
  directory:
    description:
      - The folder on the observing host for the log, the heartbeat C(status.json) and the stop file.
      - It is made when it is missing.
      - A log that is there already is continued; the time between is recorded as not observed.
    type: path
    required: true
  duration:
    description:
      - Seconds after which the observer ends by itself, V(0) for never.
      - Choose it shorter than C(async), whose end is a kill.
    type: float
    default: 0
  timeout:
    description:
      - Seconds after which a probe without an answer counts as failed.
    type: float
    default: 5
  slow_after:
    description:
      - Seconds from which an answer counts as slow. A slow answer still proves that the target is up.
    type: float
    default: 1
  max_bytes:
    description:
      - Bytes that the log shall not exceed. A good probe needs about one byte, so the default is enough for weeks.
      - Beyond it the oldest latencies are given up first, so that fewer of them are in the quantiles. When that is
        not enough, good probes are recorded as void, but for one a second of each target.
      - What proves or bounds an outage is always recorded.
    type: int
    default: 1073741824
  nice:
    description:
      - The nice value to run at, V(-20) to V(19). A negative one goes before other processes and needs root.
      - Whether it was granted is in the heartbeat and in the report.
    type: int
    default: 0
  realtime:
    description:
      - Whether to ask for the real-time scheduler (SCHED_FIFO), which keeps the schedule exact on a busy host.
      - Needs root.
      - Whether it was granted is in the heartbeat and in the report.
    type: bool
    default: false
notes:
  - Start it with C(async) and C(poll=0).
  - It ends on M(openstack.upgrade_test.observer) with
    O(openstack.upgrade_test.observer#module:state=stopped), on SIGTERM, or after O(duration);
    it then waits for what is under way, at most O(timeout).
  - Names are resolved once, at the start.
  - What could not be sampled, because the observing host was too busy, out of resources or asleep,
    is recorded as void, which counts neither as up nor as down.
attributes:
  check_mode:
    support: full
    details:
      - The options are checked and the targets are listed. Nothing is sent and nothing is written.
  diff_mode:
    support: none
    details:
      - An observer changes nothing.
  platform:
    support: full
    platforms: linux
"""

    # For those that ask over HTTPS; keep in step with TLS_ARGUMENTS there.
    TLS = r"""
options:
  validate_certs:
    description:
      - Whether a certificate that is not valid counts as a failure.
    type: bool
    default: true
  ca_cert:
    description:
      - A file of certificates to trust instead of the system's.
    type: path
"""

    # For those that can ask with a token; keep in step with module_utils/_token_source.py: argument_spec.
    USER = r"""
options:
  cloud:
    description:
      - Name in clouds.yaml of the cloud, and by that of the user, whose tokens are used. Take one without special
        rights.
      - Processes beside the observer get the tokens and renew them long before they expire. No token is ever written
        anywhere.
      - Without a valid token nothing is sent, and that is recorded as void. A valid token that is refused counts as
        down, and is replaced at once.
    type: str
  clouds_yaml:
    description:
      - The clouds.yaml to read. Then no other file is looked at, except a C(secure.yaml) beside it, and no C(OS_*)
        variable.
      - By default openstacksdk searches its usual places.
      - It is read anew for each token.
    type: path
  region_name:
    description:
      - Name of the region. By default the one in clouds.yaml.
    type: str
  api_timeout:
    description:
      - Seconds to wait for one answer of Keystone.
    type: int
    default: 10
requirements:
  - openstacksdk >= 4.0.0, with O(cloud) only
"""
