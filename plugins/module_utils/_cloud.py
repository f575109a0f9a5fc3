# Copyright: the openstack.upgrade_test contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Access to a cloud: the only place that opens a connection.

Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

openstacksdk reads clouds.yaml and keystoneauth authenticates; requests are then made one by one, without version
discovery, and not repeated, because that would hide exactly what is looked for. The one exception is a connection that
the server closes before its answer begins: an idle one may be closed at any time (RFC 9112, 9.5). One exception tree:

    CloudError            one line for the operator
    +-- UnreachableError       no answer: connection, name, TLS, time
    +-- HttpError         an answer that is not the one wanted (status)
        +-- MissingError       404: it does not exist
        +-- RefusedError       401, 403: not with these credentials
        +-- BrokenError        5xx: the service itself failed
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

APP_NAME = "openstack.upgrade_test"
INTERFACES = ("public", "internal", "admin")
_LAST_WORD = 240  # characters of a service's own error text that are quoted
# What openstacksdk would retry by itself.
_NO_RETRIES = dict.fromkeys(
    (
        "connect_retries",
        "status_code_retries",
        "image_status_code_retries",
        "baremetal_status_code_retries",
        "baremetal_introspection_status_code_retries",
    ),
    0,
)
_IDEMPOTENT = ("GET", "HEAD", "PUT", "DELETE")  # what may be repeated without asking anybody (RFC 9110, 9.2.2)
_VERSION_SUFFIX = re.compile(r"/v\d+(?:\.\d+)?$")
_PROJECT_SUFFIX = re.compile(
    r"/(AUTH_)?(?:[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[%$]\(\w+\)s)$", re.I
)


class CloudError(Exception):
    """Something about the cloud that ends the work, in one line that says what to do."""


class UnreachableError(CloudError):
    """Nothing answered."""


class HttpError(CloudError):
    """An answer that is not the one wanted."""

    def __init__(self, message: str, status: int) -> None:
        """Keep the status beside the sentence."""
        super().__init__(message)
        self.status = status


class MissingError(HttpError):
    """What was asked for does not exist (404)."""


class RefusedError(HttpError):
    """The credentials do not allow it (401, 403)."""


class BrokenError(HttpError):
    """The service failed (5xx)."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """How to reach a cloud; what is None is taken from clouds.yaml."""

    cloud: str
    clouds_yaml: str | None = None
    region_name: str | None = None
    interface: str | None = None
    api_timeout: int = 30
    ca_cert: str | None = None
    validate_certs: bool | None = None

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Access:
        """Take the connection options out of a module's parameters."""
        return cls(**{name: params[name] for name in argument_spec()})


@dataclass(frozen=True)
class Answer:
    """One answer: its status, its headers with lower-case names, its body."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    parse: Callable[[], Any]

    @property
    def body(self) -> Any:
        """The JSON body; None when there is none or it is no JSON."""
        try:
            return self.parse()
        except ValueError:
            return None


def argument_spec() -> dict[str, dict[str, Any]]:
    """Return the connection options; keep in step with doc_fragments/cloud.py."""
    return {
        "cloud": {"type": "str", "required": True},
        "clouds_yaml": {"type": "path"},
        "region_name": {"type": "str"},
        "interface": {"type": "str", "choices": list(INTERFACES)},
        "api_timeout": {"type": "int", "default": 30},
        "ca_cert": {"type": "path"},
        "validate_certs": {"type": "bool"},
    }


def base_url(url: str) -> str:
    """Return a catalogue URL without project id, version and trailing slash: ``http://h:8774/v2.1/<id>`` to ``http://h:8774``."""
    url = url.rstrip("/")
    url = _PROJECT_SUFFIX.sub("", url)
    return _VERSION_SUFFIX.sub("", url)


def version_part(url: str) -> str:
    """Return the version that a catalogue URL names: ``v2.1`` of ``http://h:8774/v2.1/<id>``; empty when none."""
    found = _VERSION_SUFFIX.search(_PROJECT_SUFFIX.sub("", url.rstrip("/")))
    return found[0].lstrip("/") if found else ""


def project_part(url: str) -> str:
    """Return how a catalogue URL ends for the project that asks: ``AUTH_{project_id}``; empty when for none."""
    found = _PROJECT_SUFFIX.search(url.rstrip("/"))
    return f"{found[1] or ''}{{project_id}}" if found else ""


class Api:
    """One service's API: requests below its base URL and version, as the connected user."""

    def __init__(self, cloud: Cloud, service: str, url: str, prefix: str, headers: Mapping[str, str]) -> None:
        """Speak to ``url`` + ``prefix``; ``headers`` go with each request, for example a microversion."""
        self.url = url
        self._cloud, self._service, self._prefix, self._headers = cloud, service, prefix, dict(headers)

    def get(self, path: str, **params: Any) -> Any:
        """Return the JSON body of a GET."""
        return self.request("GET", path, params=params).body

    def post(self, path: str, json: Any) -> Any:
        """Return the JSON body of a POST."""
        return self.request("POST", path, json=json).body

    def put(self, path: str, json: Any) -> Any:
        """Return the JSON body of a PUT."""
        return self.request("PUT", path, json=json).body

    def delete(self, path: str) -> bool:
        """Delete; whether it was there."""
        try:
            self.request("DELETE", path)
        except MissingError:
            return False
        return True

    def request(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> Answer:
        """Make one request and return the answer; raises UnreachableError or an HttpError."""
        return self._cloud.request(
            method,
            f"{self.url}{self._prefix}{path}",
            self._service,
            headers={**self._headers, **(headers or {})},
            **more,
        )


class Cloud:
    """An authenticated connection to one cloud, safe to share between threads."""

    def __init__(self, access: Access, region: Any, session: Any) -> None:
        """Use a region and a session of openstacksdk and keystoneauth, authenticated already."""
        self.access, self.region, self.session = access, region, session
        self._grant = session.auth.get_access(session)

    @property
    def name(self) -> str:
        """The cloud's name in clouds.yaml."""
        return self.access.cloud

    @property
    def auth_url(self) -> str:
        """Keystone's URL as clouds.yaml has it."""
        return str(self.region.config.get("auth", {}).get("auth_url", ""))

    @property
    def region_name(self) -> str:
        """The region in use, or an empty text."""
        return str(self.region.region_name or "")

    @property
    def interface(self) -> str:
        """The interface in use."""
        return str(self.region.get_interface() or "public").replace("URL", "")

    @property
    def user_id(self) -> str:
        """Id of the user."""
        return str(self._grant.user_id or "")

    @property
    def user_name(self) -> str:
        """Name of the user."""
        return str(self._grant.username or "")

    @property
    def project_id(self) -> str:
        """Id of the project, or an empty text."""
        return str(self._grant.project_id or "")

    @property
    def project_name(self) -> str:
        """Name of the project, or an empty text."""
        return str(self._grant.project_name or "")

    @property
    def project_domain_id(self) -> str:
        """Id of the project's domain."""
        return str(self._grant.project_domain_id or "")

    @property
    def project_domain_name(self) -> str:
        """Name of the project's domain."""
        return str(self._grant.project_domain_name or "")

    @property
    def user_domain_name(self) -> str:
        """Name of the user's domain."""
        return str(self._grant.user_domain_name or "")

    @property
    def roles(self) -> list[str]:
        """Names of the roles of the user in the project."""
        return sorted(self._grant.role_names or [])

    @property
    def token(self) -> str:
        """The token in use."""
        return str(self.session.get_token())

    @property
    def token_expires(self) -> float:
        """When the token in use ends, in seconds since the epoch."""
        return float(self._grant.expires.timestamp())

    @property
    def token_lifetime(self) -> float:
        """Seconds from the token's issue to its end: both are told by Keystone, so no other clock is trusted."""
        return float((self._grant.expires - self._grant.issued).total_seconds())

    @property
    def catalog(self) -> list[dict[str, Any]]:
        """The catalogue as Keystone gave it: type, name, endpoints."""
        return list(self._grant.service_catalog.catalog)

    def endpoints(self, types: Sequence[str]) -> dict[str, str]:
        """Return interface to URL of the first of these types that the catalogue has in the region; empty if none."""
        return self._urls(self.type_of(types))

    def type_of(self, types: Sequence[str]) -> str:
        """Return the first of these types that the catalogue has in the region; empty if none."""
        return next((wanted for wanted in types if self._urls(wanted)), "")

    def _urls(self, wanted: str) -> dict[str, str]:
        found = [entry for entry in self.catalog if entry.get("type") == wanted]
        return {
            point["interface"]: point["url"] for entry in found for point in entry["endpoints"] if self._here(point)
        }

    def published(self, types: Sequence[str]) -> list[tuple[str, str, str]]:
        """Return region, interface and URL of every endpoint, in every region, of the first type that is there."""
        for wanted in types:
            found = [point for entry in self.catalog if entry.get("type") == wanted for point in entry["endpoints"]]
            if found:
                return sorted({(_region_of(point), str(point["interface"]), str(point["url"])) for point in found})
        return []

    def api(self, types: Sequence[str], prefix: str = "", headers: Mapping[str, str] | None = None) -> Api:
        """Return the API of a service; CloudError when the catalogue has no endpoint of it for the interface."""
        urls = self.endpoints(types)
        if self.interface not in urls:
            raise CloudError(self._not_in_catalog(types, urls))
        return Api(self, types[0], base_url(urls[self.interface]), prefix, headers or {})

    def request(self, method: str, url: str, service: str, **more: Any) -> Answer:
        """Make one request as the user; raises UnreachableError or an HttpError with one sentence."""
        from keystoneauth1 import exceptions

        try:
            response = self._send(method, url, **more)
        except exceptions.ClientException as problem:
            raise self._no_answer(f"{method} {url} ({service})", problem) from problem
        if response.status_code > 300:  # 300 is how some services answer with their versions, and followed by nobody
            raise http_error(f"{method} {url} ({service})", response.status_code, response.text)
        headers = {key.lower(): value for key, value in response.headers.items()}
        return Answer(response.status_code, headers, response.content, response.json)

    def _send(self, method: str, url: str, **more: Any) -> Any:
        """Send a request, and once more when the connection was closed under it and it may be repeated."""
        from keystoneauth1 import exceptions

        send = partial(self.session.request, url, method, raise_exc=False, connect_retries=0, **more)
        try:
            return send()
        except exceptions.ConnectFailure as problem:
            if method not in _IDEMPOTENT or not _closed_early(problem):
                raise
        return send()

    def _no_answer(self, what: str, problem: Exception) -> CloudError:
        """Say why there was no answer; a token that cannot be renewed is one of the reasons."""
        if getattr(problem, "http_status", 0):
            return http_error(what, int(problem.http_status), str(problem))  # type: ignore[attr-defined]
        return UnreachableError(f"{what} got no answer: {_cause(problem)}")

    def _here(self, point: Mapping[str, Any]) -> bool:
        return not self.region_name or _region_of(point) in (self.region_name, "")

    def _not_in_catalog(self, types: Sequence[str], urls: Mapping[str, str]) -> str:
        if urls:
            return (
                f"The catalogue of cloud {self.name!r} has no {self.interface} endpoint of {types[0]}, "
                f"only {', '.join(sorted(urls))}: set the option interface."
            )
        known = ", ".join(sorted({entry.get("type", "?") for entry in self.catalog})) or "nothing"
        where = f" in region {self.region_name}" if self.region_name else ""
        return (
            f"The catalogue of cloud {self.name!r} has no service of type {' or '.join(types)}{where}; it has {known}. "
            "Register its endpoints, or leave it out of the option services."
        )


def _region_of(point: Mapping[str, Any]) -> str:
    return str(point.get("region_id", point.get("region")) or "")


def http_error(what: str, status: int, text: str) -> HttpError:
    """Return the error for an answer: what was asked, what came."""
    kinds: dict[int, type[HttpError]] = {401: RefusedError, 403: RefusedError, 404: MissingError}
    kind = BrokenError if status >= 500 else kinds.get(status, HttpError)
    return kind(f"{what} got HTTP {status}: {_quote(text)}", status)


def check(access: Access) -> None:
    """Read clouds.yaml and ask nobody; CloudError when the cloud is not in it, or its entry is not usable."""
    _region(access)


def login_variables(access: Access) -> dict[str, str]:
    """Return the variables with which command-line clients log in as the user of clouds.yaml; nobody is asked."""
    region = _region(access)
    auth = {key: str(value) for key, value in region.config.get("auth", {}).items() if value}
    missing = [key for key in ("auth_url", "username", "password", "project_name") if key not in auth]
    if missing:
        raise CloudError(
            f"Cloud {access.cloud!r}: its entry has no {', '.join(missing)}, and scripts log in by name and password."
        )
    found = {f"OS_{key.upper()}": auth[key] for key in ("auth_url", "username", "password", "project_name")}
    for whose in ("user", "project"):
        name = auth.get(f"{whose}_domain_name", auth.get("domain_name", ""))
        id_ = auth.get(f"{whose}_domain_id", "default" if name.lower() in ("", "default") else "")
        # Scripts that change the user set ids, as DevStack does; a name beside them would be one too many.
        found |= {f"OS_{whose.upper()}_DOMAIN_ID": id_} if id_ else {f"OS_{whose.upper()}_DOMAIN_NAME": name}
    found |= {"OS_REGION_NAME": str(region.region_name)} if region.region_name else {}
    found |= {"OS_INTERFACE": access.interface} if access.interface else {}
    found |= {"OS_CACERT": str(region.config["cacert"])} if region.config.get("cacert") else {}
    return found


def connect(access: Access) -> Cloud:
    """Read clouds.yaml, authenticate, return the cloud; each failure is a CloudError whose one line says what to do."""
    region = _region(access)
    session = region.get_session()
    _authenticate(access, region, session)
    return Cloud(access, region, session)


def _region(access: Access) -> Any:
    """Return openstacksdk's configuration of the cloud."""
    config = _configuration(access)
    names = [name for name in config.get_cloud_names() if name != "defaults" or config.config_filename]
    if access.cloud not in names:
        raise CloudError(_unknown_cloud(access, names, config.config_filename, config._config_files))
    wanted: dict[str, Any] = {
        "region_name": access.region_name,
        "interface": access.interface,
        "api_timeout": access.api_timeout,
        "cacert": access.ca_cert,
        "verify": access.validate_certs,
    }
    given = {key: value for key, value in wanted.items() if value is not None}
    try:
        return config.get_one(cloud=access.cloud, **given, **_NO_RETRIES)
    except Exception as problem:  # openstacksdk and keystoneauth raise several unrelated classes here
        raise CloudError(
            f"Cloud {access.cloud!r} in {config.config_filename} is not usable: {_one_line(problem)}"
        ) from problem


def _configuration(access: Access) -> Any:
    """Return openstacksdk's reading of clouds.yaml."""
    try:
        from openstack import config as sdk_config
    except ImportError as problem:
        raise CloudError(
            f"Needs openstacksdk in the Python that runs the module ({_interpreter()}): {problem}. "
            "Install it there, for example with pip install openstacksdk."
        ) from problem
    kwargs: dict[str, Any] = {"app_name": APP_NAME}
    if access.clouds_yaml:
        path = _readable(Path(access.clouds_yaml))
        beside = path.with_name("secure.yaml")
        kwargs |= {
            "config_files": [str(path)],
            "secure_files": [str(beside)],
            "vendor_files": [],
            "load_envvars": False,
        }
    try:
        return sdk_config.OpenStackConfig(**kwargs)
    except Exception as problem:  # yaml.YAMLError, ConfigException, OSError: each means a file that cannot be used
        where = access.clouds_yaml or "clouds.yaml"
        raise CloudError(f"clouds_yaml: {where} cannot be read: {_one_line(problem)}") from problem


def _interpreter() -> str:
    import sys

    return sys.executable


def _readable(path: Path) -> Path:
    """Return the path of a clouds.yaml that can be opened; openstacksdk would pass over one that cannot."""
    try:
        path.open("rb").close()
    except OSError as problem:
        reason = problem.strerror or str(problem)
        raise CloudError(
            f"clouds_yaml: {path} cannot be read ({reason}). Name the clouds.yaml that has the cloud."
        ) from problem
    return path


def _unknown_cloud(access: Access, names: Sequence[str], found: str | None, searched: Iterable[str]) -> str:
    """Say which clouds there are and where they were looked for."""
    if not found:
        files = ", ".join(dict.fromkeys(str(file) for file in searched))
        return (
            f"cloud: no clouds.yaml was found, so there is no cloud {access.cloud!r}. Searched {files}. "
            "Write one, or name it with clouds_yaml."
        )
    there = ", ".join(repr(name) for name in sorted(names)) or "none"
    return f"cloud: {access.cloud!r} is not in {found}; the clouds there are {there}."


def _authenticate(access: Access, region: Any, session: Any) -> None:
    """Get a token, or raise the CloudError that says why there is none."""
    from keystoneauth1 import exceptions

    try:
        session.auth.get_access(session)
    except exceptions.ClientException as problem:
        url = region.config.get("auth", {}).get("auth_url", "")
        raise _refusal(access.cloud, str(url), problem) from problem


def _refusal(cloud: str, url: str, problem: Exception) -> CloudError:
    """Turn keystoneauth's error into one line that says what to do."""
    from keystoneauth1 import exceptions

    text = _cause(problem)
    status = int(getattr(problem, "http_status", 0) or 0)
    lowered = text.lower()
    if status in (401, 403):
        return RefusedError(
            f"Cloud {cloud!r}: Keystone at {url} refused the credentials (HTTP {status}): "
            "check user, password, project and domain names in clouds.yaml.",
            status,
        )
    if "tls" in lowered or "ssl" in lowered or "certificate" in lowered:
        return UnreachableError(
            f"Cloud {cloud!r}: the TLS connection to {url} failed: {text} "
            "Name the authority's certificate with ca_cert (cacert in clouds.yaml), or correct auth_url."
        )
    if status >= 500:
        return BrokenError(
            f"Cloud {cloud!r}: Keystone at {url} answers HTTP {status}: {text} Look at Keystone's own log.", status
        )
    if status == 404 or "v2 authentication" in text:  # what keystoneauth says of another service's versions
        return MissingError(
            f"Cloud {cloud!r}: {url} answers, but not as Keystone does: correct auth_url, which usually ends in /v3.",
            404,
        )
    if isinstance(problem, exceptions.ConnectionError) or _says_unreachable(str(problem)):
        return UnreachableError(
            f"Cloud {cloud!r}: auth_url {url} is unreachable: {text} Check the URL, the network and that Keystone runs."
        )
    return CloudError(f"Cloud {cloud!r}: authentication at {url} failed: {text} Check its entry in clouds.yaml.")


def _quote(text: str) -> str:
    """Return the sentence inside an OpenStack error body, or the beginning of the body."""
    match = re.search(r'"(?:message|faultstring|detail)"\s*:\s*"((?:[^"\\]|\\.)+)"', text)
    plain = match[1] if match else re.sub(r"<[^>]+>", " ", text)
    return _one_line(plain.replace("\\n", " ")) or "no text"


def _says_unreachable(text: str) -> bool:
    """Whether keystoneauth wrapped a failed connection into another error, as its discovery does."""
    return any(sign in text.lower() for sign in ("unable to establish connection", "timed out", "connect failure"))


def _closed_early(problem: BaseException) -> bool:
    """Whether the connection was closed before the answer began, which is what is below all that was wrapped around."""
    below: list[BaseException] = [problem]
    while below:
        one = below.pop()
        if isinstance(one, ConnectionResetError):
            return True
        below += [arg for arg in one.args if isinstance(arg, BaseException)]
        below += [one.__context__] if one.__context__ else []
    return False


def _cause(problem: object) -> str:
    """Return what went wrong below all that the libraries have wrapped around it: ``Connection refused.``."""
    text = str(problem)
    for pattern in (
        r"\[SSL: [A-Z_]+\] ([^(\n\"']+)",
        r"\[Errno -?\d+\] ([^'\")\n]+)",
        r"((?:read|connect)? ?timed out)",
    ):
        found = re.findall(pattern, text)
        if found:
            return _one_line(found[-1].strip().capitalize() if "SSL" not in pattern else f"TLS: {found[-1].strip()}")
    return _one_line(text)


def _one_line(problem: object) -> str:
    """Return an error's text as one line of bounded length that ends a sentence."""
    text = " ".join(str(problem).split()) or type(problem).__name__
    text = text if len(text) <= _LAST_WORD else text[: _LAST_WORD - 3] + "..."
    return text if text[-1] in ".!?" else text + "."
