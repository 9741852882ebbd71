"""docker-compose.yml, the Dockerfile and .env.example agree with each other and with the code."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import Any

import click
import typer.main
import yaml

from demo.crm.home import DEFAULT_PORT as DEMO_PORT
from orchestration import health
from orchestration.cli import metrics
from orchestration.cli.serve import PORT
from orchestration.dagster_home import CODE_LOCATION
from orchestration.health import CODE_SERVER
from orchestration.job_runner import REPOSITORY_LABEL
from pipeline.integrations.metabase.client import NEWEST_TRIED_VERSION, OLDEST_VERSION, major_version
from warehouse.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[2]
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\}")
ONE_SHOT = {"migrate", "demo-world", "metabase-bootstrap"}
SECRET = re.compile(r"PASSWORD|_KEY|_PASS$|TOKEN")


@cache
def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return content


@cache
def example() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text().splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def services() -> dict[str, dict[str, Any]]:
    by_name: dict[str, dict[str, Any]] = compose()["services"]
    return by_name


def ours() -> dict[str, dict[str, Any]]:
    image = services()["migrate"]["image"]
    return {name: service for name, service in services().items() if service["image"] == image}


def dockerfile() -> list[str]:
    """The Dockerfile's instructions, with continued lines joined."""
    text = (ROOT / "docker" / "Dockerfile").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def variables() -> Iterator[re.Match[str]]:
    return VARIABLE.finditer((ROOT / "docker-compose.yml").read_text())


def container_ports(service: dict[str, Any]) -> set[str]:
    return {str(mapping).rsplit(":", 1)[1] for mapping in service.get("ports", [])}


def test_every_variable_stands_in_the_example_and_every_example_is_used() -> None:
    assert {match["name"] for match in variables()} == set(example())


def test_variables_have_the_defaults_of_the_example_and_none_is_a_secret() -> None:
    for match in variables():
        assert (match["kind"], match["rest"]) == ("-", example()[match["name"]]), match["name"]
        assert not SECRET.search(match["name"]), f"{match['name']}: secrets stand in files"


def test_every_service_has_a_limit_and_what_runs_on_keeps_its_logs_short() -> None:
    for name, service in services().items():
        assert service["mem_limit"], name
        assert service["logging"]["options"]["max-size"], name
        assert "no-new-privileges:true" in service["security_opt"], name


def test_nothing_listens_beyond_this_machine() -> None:
    for name, service in services().items():
        assert "network_mode" not in service, f"{name}: who shares a network is lost when its neighbour starts again"
        for mapping in service.get("ports", []):
            assert str(mapping).startswith("127.0.0.1:"), f"{name}: {mapping}"


def test_ports_on_this_machine_do_not_collide() -> None:
    used = [str(mapping).split(":", 1)[1] for service in services().values() for mapping in service.get("ports", [])]
    resolved = [VARIABLE.sub(lambda match: match["rest"], mapping).split(":")[0] for mapping in used]
    assert len(set(resolved)) == len(resolved) == 7


def test_images_are_pinned_and_metabase_is_one_that_the_client_knows() -> None:
    for name, service in services().items():
        assert re.fullmatch(r"[\w/.-]+:v?\d[\w.]*", service["image"]), name
    version = major_version(services()["metabase"]["image"].split(":")[1])
    assert version is not None
    assert OLDEST_VERSION <= version <= NEWEST_TRIED_VERSION
    assert services()["postgres"]["image"].startswith("postgres:18")


def test_the_image_of_ours_carries_the_version_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {service["image"] for service in ours().values()} == {f"{project['name']}:{project['version']}"}


def test_environment_of_our_services_holds_settings_that_exist() -> None:
    for name, service in ours().items():
        for variable in service["environment"]:
            if variable.startswith(PREFIX):
                # A variable of the name of a secret, empty or not, would stand before the file.
                assert variable.removeprefix(PREFIX).lower() in Settings.model_fields, f"{name}: {variable}"


def test_long_running_services_restart_and_say_whether_they_are_well() -> None:
    for name, service in services().items():
        if name in ONE_SHOT:
            assert service["restart"] in {"no", "on-failure:5"}, name
        else:
            assert service["restart"] == "unless-stopped", name
            assert service["healthcheck"]["test"][0] == "CMD", name


def test_health_checks_and_published_ports_are_those_the_services_listen_on() -> None:
    for name, service in services().items():
        asked = set(re.findall(r"127\.0\.0\.1:(\d+)/", " ".join(service.get("healthcheck", {}).get("test", []))))
        listens = {str(DEMO_PORT)} if name == "demo-crm" else container_ports(service)
        assert asked <= listens, name
        command = service.get("command", [])
        if "--port" in command and service.get("ports"):
            assert container_ports(service) == {command[command.index("--port") + 1]}, name


def test_what_a_service_waits_for_exists_and_can_fulfil_it() -> None:
    for name, service in services().items():
        for other, wait in service.get("depends_on", {}).items():
            assert other in services(), f"{name} waits for {other}"
            finished = wait["condition"] == "service_completed_successfully"
            assert finished == (other in ONE_SHOT), f"{name} waits for {other}"
            assert wait["condition"] != "service_healthy" or "healthcheck" in services()[other]


def test_volumes_are_declared_and_mounted_files_exist() -> None:
    for name, service in services().items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).is_file(), f"{name}: {volume}"
            else:
                assert source in compose()["volumes"], f"{name}: {volume}"


def test_only_the_demo_the_mail_catcher_metrics_and_the_api_have_a_profile() -> None:
    with_profile = {name for name, service in services().items() if "profiles" in service}
    assert with_profile == {"demo-world", "demo-crm", "mail", "metrics", "api", "collector"}
    assert {name: services()[name]["profiles"] for name in with_profile} == {
        "demo-world": ["demo"],
        "demo-crm": ["demo"],
        "mail": ["mail"],
        "metrics": ["metrics"],
        "api": ["api"],
        "collector": ["events"],
    }


def test_commands_are_installed_by_the_lock_or_by_us() -> None:
    scripts = {entry.name for entry in entry_points(group="console_scripts")}
    own = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for name, service in ours().items():
        program, *arguments = service["command"]
        if program == "python":
            assert arguments[0] == "-m", name
            assert find_spec(f"{arguments[1]}.__main__"), name
        else:
            assert program in scripts | own.keys(), f"{name}: {program}"


def test_arguments_of_dagsters_programs_exist_and_the_module_is_ours() -> None:
    from dagster._cli.api import grpc_command
    from dagster._daemon.cli import run_command
    from dagster_webserver.cli import dagster_webserver

    known: dict[str, tuple[click.Command, list[str]]] = {
        "dagster-webserver": (dagster_webserver, services()["dagster-webserver"]["command"][1:]),
        "dagster-daemon": (run_command, services()["dagster-daemon"]["command"][2:]),
        "dagster-code": (grpc_command, services()["dagster-code"]["command"][3:]),
    }
    for name, (command, arguments) in known.items():
        options = {option for parameter in command.params for option in parameter.opts}
        assert {argument for argument in arguments if str(argument).startswith("--")} <= options, name
    code = services()["dagster-code"]["command"]
    assert code[:3] == ["dagster", "api", "grpc"], "a proxy before it would not know the runs of the server before"
    options = ("--module-name", "--port", "--location-name")
    module, port, location = (code[code.index(option) + 1] for option in options)
    assert find_spec(module), module
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["dagster"]["module_name"] == module
    assert (CODE_SERVER.partition(":")[2], location) == (port, CODE_LOCATION)


def test_dagster_finds_the_code_server_under_the_name_that_runs_of_the_command_bear() -> None:
    from dagster._core.remote_origin import GrpcServerCodeLocationOrigin
    from dagster._core.workspace.load import location_origins_from_yaml_paths

    for name in ("dagster-webserver", "dagster-daemon"):
        command = services()[name]["command"]
        workspace = command[command.index("--workspace") + 1]
        assert f"COPY docker/workspace.yaml {workspace}" in dockerfile()
    (origin,) = location_origins_from_yaml_paths([str(ROOT / "docker" / "workspace.yaml")])
    assert isinstance(origin, GrpcServerCodeLocationOrigin)
    code = services()["dagster-code"]["command"]
    assert (origin.host, str(origin.port)) == ("dagster-code", code[code.index("--port") + 1])
    assert REPOSITORY_LABEL.endswith(f"@{origin.location_name}")


def test_health_is_asked_of_a_small_program_that_knows_the_service() -> None:
    asked = {name: service["healthcheck"]["test"] for name, service in ours().items() if "healthcheck" in service}
    del asked["demo-crm"]
    assert set(asked) == {"dagster-code", "dagster-webserver", "dagster-daemon", "metrics", "api", "collector"}
    for name, test in asked.items():
        assert test[:-1] == ["CMD", "python", "-m", health.__name__], name
        assert test[-1] in health.SERVICES, name
    (port,) = container_ports(services()["dagster-webserver"])
    assert f":{port}/" in health.WEBSERVER
    (port,) = container_ports(services()["metrics"])
    assert f":{port}/" in health.METRICS
    assert int(port) == metrics.PORT
    (port,) = container_ports(services()["api"])
    assert f":{port}/" in health.API
    assert int(port) == PORT
    (port,) = container_ports(services()["collector"])
    assert f":{port}/" in health.COLLECTOR


def test_the_image_is_built_once_and_used_by_its_name() -> None:
    assert [name for name, service in services().items() if "build" in service] == ["migrate"]
    for name, service in ours().items():
        # Compose would ask a registry for it before `migrate` has built it.
        assert service["pull_policy"] == "never", name


def test_the_limits_add_up_to_what_is_promised() -> None:
    gigabytes = 0.0
    for service in services().values():
        if "profiles" not in service and service.get("restart") == "unless-stopped":
            limit = VARIABLE.sub(lambda match: match["rest"], service["mem_limit"])
            gigabytes += float(limit[:-1]) / {"g": 1, "m": 1024}[limit[-1]]
    assert gigabytes <= 8
    assert "8 GB of memory" in (ROOT / "docs" / "deployment.md").read_text()


def test_the_demo_has_the_commands_and_options_that_services_call() -> None:
    from demo.__main__ import app

    group: Any = typer.main.get_command(app)
    for name in ("demo-world", "demo-crm"):
        command, *arguments = services()[name]["command"][3:]
        options = {option for parameter in group.commands[command].params for option in parameter.opts}
        assert {argument for argument in arguments if argument.startswith("--")} <= options, name


def test_churn_has_the_commands_that_services_call() -> None:
    from orchestration.cli.lazy import LazyCommand
    from orchestration.cli.main import app

    group: Any = typer.main.get_command(app)
    for name, service in ours().items():
        if service["command"][0] == "churn":
            command = group
            for word in takewhile(lambda word: not word.startswith("--"), service["command"][1:]):
                assert word in command.commands, f"{name}: {word}"
                command = command.commands[word]
                if isinstance(command, LazyCommand):
                    command = command.place.load(word)


def test_dagsters_home_is_where_the_code_writes_its_configuration() -> None:
    from orchestration.dagster_home import directory

    for name, service in ours().items():
        environment = service["environment"]
        home = Settings(home=Path(environment["CHURN_HOME"]))
        assert environment["DAGSTER_HOME"] == str(directory(home)), name


def test_the_image_runs_as_an_ordinary_user_with_hashes_checked() -> None:
    instructions = dockerfile()
    users = [line for line in instructions if line.startswith("USER ")]
    assert users == ["USER 10001:10001"]
    assert instructions.index(users[0]) < next(
        number for number, line in enumerate(instructions) if line.startswith("CMD ")
    )
    assert any("--require-hashes" in line and "requirements.lock" in line for line in instructions)
    pinned = re.compile(r"FROM python:3\.11\.\d+-slim-\w+")
    stages = {line.split()[-1] for line in instructions if re.match(r"FROM \S+ AS ", line)}
    bases = [line for line in instructions if line.startswith("FROM ") and line.split()[1] not in stages]
    assert bases
    assert all(pinned.match(line) for line in bases)


def test_what_the_image_copies_exists_and_passes_the_ignore_file() -> None:
    allowed = (ROOT / "docker" / "Dockerfile.dockerignore").read_text().splitlines()
    copied: set[str] = set()
    for line in dockerfile():
        tokens = [word for word in shlex.split(line) if not word.startswith("--")]
        if tokens[0] == "COPY" and "--from=" not in line:
            copied.update(tokens[1:-1])
    for source in copied:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in allowed, source
    assert allowed.count("*") == 1
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert packages <= copied


def test_the_image_and_compose_agree_on_where_things_are() -> None:
    text = "\n".join(dockerfile())
    for name, service in ours().items():
        assert f"CHURN_HOME={service['environment']['CHURN_HOME']}" in text, name
        assert f"DAGSTER_HOME={service['environment']['DAGSTER_HOME']}" in text, name
    assert "VOLUME /churn /backups" in text


def test_git_ignores_the_filled_in_environment() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert ".env" in ignored
    assert ".env.example" not in ignored


def test_the_base_of_a_released_image_is_pinned_by_digest() -> None:
    pinned = dict(re.findall(r"^(BASE|BASE_DIGEST) := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE))
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    bases = set(re.findall(r"^FROM (\S+:\S+)", dockerfile, re.MULTILINE))
    assert bases == {pinned["BASE"]}
    assert re.fullmatch(r"sha256:[a-f0-9]{64}", pinned["BASE_DIGEST"])
