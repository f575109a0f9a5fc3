# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a finished probe means. Pure decisions, no I/O."""

from __future__ import annotations

import errno

from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._http import (
    EarlyCloseError,
    HttpError,
    ResponseReader,
)
from ansible_collections.openstack.upgrade_test.plugins.module_utils._probe._model import Kind, LaneSpec

LOCAL_ERRORS = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.EADDRNOTAVAIL,
        errno.EADDRINUSE,
        errno.EAGAIN,
        errno.EACCES,
        errno.EPERM,
        errno.ENETDOWN,
        errno.ENODEV,
        errno.EAFNOSUPPORT,
    }
)
"""Errors that the observer's own host makes: they say nothing about the target."""

_RESETS = frozenset({errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ESHUTDOWN, errno.ENOTCONN})
_UNREACHABLE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENOPROTOOPT, errno.EPROTO})
_HAPROXY_WORDS = (
    b"No server is available to handle this request.",
    b"The server returned an invalid or incomplete response.",
    b"The server didn't respond in time.",
    b"An internal server error occurred.",
)
_UP = Kind.UP
"""Up to Python 3.11 each look into an Enum costs a call."""


def kind_of_error(number: int, *, at_once: bool = False) -> Kind:
    """The kind for an errno; at_once: the local kernel refused without having asked anybody."""
    if number in LOCAL_ERRORS or (at_once and number == errno.ENETUNREACH):
        return Kind.VOID_LOCAL
    if number == errno.ECONNREFUSED:
        return Kind.REFUSED
    if number == errno.ETIMEDOUT:
        return Kind.CONNECT_TIMEOUT
    return Kind.UNREACHABLE if number in _UNREACHABLE else Kind.RESET


def kind_of_http_error(error: HttpError) -> Kind:
    """The kind for an answer that is no response."""
    return Kind.EARLY_CLOSE if isinstance(error, EarlyCloseError) else Kind.BAD_RESPONSE


def kind_of_response(spec: LaneSpec, response: ResponseReader) -> Kind:
    """The kind for a complete response, as the target is expected to answer."""
    status = response.status
    if status in spec.statuses or (not spec.statuses and 200 <= status < 400):
        return _UP if not spec.body or spec.body in response.body else Kind.WRONG_BODY
    if status >= 500:
        return Kind.HTTP_5XX_HAPROXY if made_by_haproxy(response) else Kind.HTTP_5XX_SERVICE
    return Kind.UNAUTHORIZED if status == 401 else Kind.WRONG_STATUS


def made_by_haproxy(response: ResponseReader) -> bool:
    """True when a load balancer answered in place of the service: HAProxy's own pages carry no Server header."""
    if response.server:
        return response.server.lower().startswith(b"haproxy")
    return any(words in response.body for words in _HAPROXY_WORDS)


def kind_of_silence(*, connected: bool, started: bool) -> Kind:
    """The kind for a probe that was not answered in time."""
    if not connected:
        return Kind.CONNECT_TIMEOUT
    return Kind.STALLED if started else Kind.TIMEOUT
