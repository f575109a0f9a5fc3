# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nova's fake driver with a memory: it can be restarted, as an upgrade has to.

Nova's own fake driver forgets its servers at a restart. Nova loads drivers only from below nova.virt, so this file is
linked there.
"""

from nova.virt import fake, hardware


class LabFakeDriver(fake.FakeDriverWithoutFakeNodes):
    """A hypervisor without guests that takes its servers over again after a restart."""

    vcpus = 8
    memory_mb = 16384
    local_gb = 100

    def get_info(self, instance, use_cache=True):
        """State of a server; one that an earlier process made is taken over as it is recorded."""
        if instance.uuid not in self.instances:
            return hardware.InstanceInfo(state=instance.power_state)
        return super().get_info(instance, use_cache=use_cache)
