"""The GraphQL operations that the stand-in answers, by their names.

Each takes the server (which holds its lock), the variables and the document, and gives the `data`. A field
that a document doesn't ask for does no harm, so a query of a run gets all but what takes long to make.
"""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

WHEN = "2026-01-01T00:00:00Z"
USER = {"id": "VXNlcjox", "name": "Stand In", "username": "stand-in", "email": "stand-in@example.com"}


class WrongError(Exception):
    """A request that the server cannot answer."""


def _viewer(server: Any, variables: dict, query: str) -> dict:
    keys, teams = {"edges": []}, {"edges": [{"node": {"name": "stand-in"}}]}
    more = {"entity": "stand-in", "flags": "{}", "admin": False, "deletedAt": None}
    return {"viewer": USER | more | {"teams": teams, "apiKeys": keys}}


def _server_info(server: Any, variables: dict, query: str) -> dict:
    features = [{"name": name, "isEnabled": True} for name in server.features]
    return {"serverInfo": {"features": features, "cliVersionInfo": {"max_cli_version": "99.0.0"}}}


def _project_node(entity: str, project: str) -> dict:
    return {
        "id": f"project-{project}",
        "internalId": "1",
        "name": project,
        "readOnly": False,
        "entity": {"id": f"entity-{entity}", "name": entity},
    }


def _run_node(run: Any, query: str, variables: dict) -> dict:
    node = {
        "__typename": "Run",
        "id": run.storage_id,
        "projectId": "1",
        "tags": run.tags,
        "name": run.id,
        "displayName": run.name,
        "sweepName": run.sweep,
        "state": run.state,
        "config": json.dumps(run.raw_config),
        "group": run.group,
        "jobType": run.job_type,
        "commit": None,
        "readOnly": False,
        "createdAt": WHEN,
        "heartbeatAt": WHEN,
        "description": run.notes,
        "notes": run.notes,
        "systemMetrics": "{}",
        "summaryMetrics": run.raw_summary,
        "historyLineCount": len(run.history),
        "user": {"name": USER["name"], "username": USER["username"]},
        "project": _project_node(run.entity, run.project),
    }
    if "historyKeys" in query:
        rows = run.rows
        keys = {name: {} for row in rows for name in row}
        steps = [row["_step"] for row in rows if "_step" in row]
        node["historyKeys"] = {"lastStep": max(steps, default=-1), "keys": keys, "sets": []}
    if "history(" in query:
        low, high = variables.get("minStep", 0), variables.get("maxStep", 10**18)
        node["history"] = [line for line in run.history if low <= json.loads(line).get("_step", 0) < high]
    if "sampledHistory" in query:
        asked = variables.get("specs") or [variables["spec"]]
        wanted = [json.loads(spec)["keys"] for spec in asked]
        node["sampledHistory"] = [
            [{key: row[key] for key in keys} for row in run.rows if row.keys() >= set(keys)]
            for keys in wanted
        ]
    if "parquetHistory" in query:
        node["parquetHistory"] = {"parquetUrls": [], "liveData": run.rows}
    return node


def _upsert_run(server: Any, variables: dict, query: str) -> dict:
    given = {name: value for name, value in variables.items() if value is not None}
    run, inserted = server.run_of(given.get("id", "")), False
    if run is None:
        if "name" not in given:
            raise WrongError("a run with no name")
        path = (given.get("entity") or "stand-in", given.get("project") or "uncategorized", given["name"])
        server.projects.add(path[:2])
        inserted = path not in server.all_runs
        if inserted:
            server.all_runs[path] = _new_run(server, path)
        run = server.all_runs[path]
    run.upserts += 1
    about = {"displayName": "name", "display_name": "name", "groupName": "group", "jobType": "job_type"}
    about |= {"notes": "notes", "tags": "tags", "sweep": "sweep", "state": "state"}
    for name in given.keys() & about.keys():
        setattr(run, about[name], given[name])
    if "config" in given:
        run.raw_config = json.loads(given["config"])
    if "summaryMetrics" in given:
        run.raw_summary = given["summaryMetrics"]
    node = _run_node(run, query, variables)
    if "id" not in given and given.keys() & {"host", "displayName", "groupName", "program", "tags"}:
        # A start without `resume`, which would give the id; and no change of the config alone.
        run.state = "running"
        if not inserted and server.again != "append":
            node["historyLineCount"] = 0
            if server.again == "truncate":
                run.lines.clear()
                run.raw_summary = "{}"
    return {"upsertBucket": {"bucket": node, "inserted": inserted}}


def _new_run(server: Any, path: tuple[str, str, str]) -> Any:
    from stand_in import Run

    return Run(*path, number=next(server.numbers))


def _resume_status(server: Any, variables: dict, query: str) -> dict:
    entity, project = variables["entity"] or "stand-in", variables["project"]
    if (entity, project) not in server.projects:
        return {"model": None}
    run = server.all_runs.get((entity, project, variables["name"]))
    bucket = None
    if run is not None:
        events = run.lines.get("wandb-events.jsonl", [])
        bucket = _run_node(run, query, variables) | {
            "logLineCount": len(run.lines.get("output.log", [])),
            "eventsLineCount": len(events),
            "historyTail": json.dumps(run.history[-1:]),
            "eventsTail": json.dumps(events[-1:]),
            "wandbConfig": json.dumps({"t": run.raw_config.get("_wandb", {}).get("value", {}).get("t")}),
        }
    return {"model": _project_node(entity, project) | {"bucket": bucket}}


def _project_of(server: Any, variables: dict) -> tuple[str, str]:
    entity = variables.get("entity") or variables.get("entityName") or "stand-in"
    return entity, variables.get("project") or variables.get("projectName") or variables.get("name") or ""


def _run(server: Any, variables: dict, query: str) -> dict:
    path = _project_of(server, variables)
    if path not in server.projects:
        return {"project": None}
    run = server.all_runs.get((*path, variables.get("run") or variables.get("runName") or variables["name"]))
    return {"project": {"run": None if run is None else _run_node(run, query, variables)}}


def _runs(server: Any, variables: dict, query: str) -> dict:
    path = _project_of(server, variables)
    if path not in server.projects:
        return {"project": None}
    filters = json.loads(variables.get("filters") or "{}")
    found = [run for run in server.all_runs.values() if (run.entity, run.project) == path]
    found = sorted((run for run in found if matches(run, filters)), key=lambda run: run.number)
    order = variables.get("order") or "+created_at"
    if order.lstrip("+-") not in ("created_at", "createdAt"):
        raise WrongError(f"no order by {order}")
    if order.startswith("-"):
        found.reverse()
    count, first = len(found), variables.get("perPage") or variables.get("first") or 50
    if cursor := variables.get("cursor"):
        places = [place for place, run in enumerate(found) if str(run.number) == cursor]
        found = found[places[0] + 1 :] if places else []
    edges = [{"node": _run_node(run, query, variables), "cursor": str(run.number)} for run in found[:first]]
    page = {"endCursor": edges[-1]["cursor"] if edges else None, "hasNextPage": len(found) > first}
    return {"project": _project_node(*path) | {"runCount": count, "runs": {"edges": edges, "pageInfo": page}}}


def matches(run: Any, filters: dict[str, Any]) -> bool:
    """Return whether a run meets a filter, in the part of MongoDB's language that the client uses."""
    for name, wanted in filters.items():
        if name in ("$and", "$or"):
            if not (all if name == "$and" else any)([matches(run, part) for part in wanted]):
                return False
        elif not _meets(_field(run, name), wanted):
            return False
    return True


def _field(run: Any, name: str) -> Any:
    known = {"name": "id", "displayName": "name", "display_name": "name", "jobType": "job_type"}
    known |= {same: same for same in ("job_type", "group", "state", "tags", "sweep", "notes")}
    if name in known:
        return getattr(run, known[name])
    start, _, rest = name.partition(".")
    if start not in ("config", "summary_metrics") or not rest:
        raise WrongError(f"no filter by {name}")
    return (run.config if start == "config" else run.summary).get(rest.removesuffix(".value"))


def _meets(value: Any, wanted: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    tests: dict[str, Callable[[Any], bool]] = {
        "$eq": lambda other: other in values or other == value,
        "$ne": lambda other: other not in values and other != value,
        "$in": lambda others: any(one in others for one in values),
        "$nin": lambda others: not any(one in others for one in values),
        "$exists": lambda other: (value is not None) == other,
    }
    if not isinstance(wanted, dict):
        wanted = {"$eq": wanted}
    if unknown := wanted.keys() - tests.keys():
        raise WrongError(f"no filter by {sorted(unknown)}")
    return all(tests[sign](other) for sign, other in wanted.items())


def _delete_run(server: Any, variables: dict, query: str) -> dict:
    run = server.run_of(variables["id"])
    if run is None:
        raise WrongError("no run to delete")
    del server.all_runs[(run.entity, run.project, run.id)]
    return {"deleteRun": {"clientMutationId": None}}


def _run_files(server: Any, variables: dict, query: str) -> dict:
    run = server.all_runs[(variables["entity"], variables["project"], variables["run"])]
    files = [
        {"name": name, "uploadUrl": f"{server.url}/storage/run/{quote(run.storage_id)}/{quote(name)}"}
        for name in variables["files"]
    ]
    return {"createRunFiles": {"runID": run.storage_id, "uploadHeaders": [], "files": files}}


def _files_of_run(server: Any, variables: dict, query: str) -> dict:
    run = server.all_runs.get((*_project_of(server, variables | {"name": None}), variables["name"]))
    if run is None:
        return {"project": {"run": None}}
    more = {"url": "", "directUrl": "", "mimetype": "", "updatedAt": WHEN, "md5": ""}
    edges = [
        {"node": {"id": name, "name": name, "sizeBytes": len(body)} | more, "cursor": name}
        for name, body in run.files.items()
    ]
    files = {"edges": edges, "pageInfo": {"endCursor": None, "hasNextPage": False}}
    return {"project": {"internalId": "1", "run": {"fileCount": len(edges), "files": files}}}


def _create_artifact(server: Any, variables: dict, query: str) -> dict:
    from stand_in import Artifact

    given = variables["input"]
    names = given.get("artifactCollectionNames") or [given.get("artifactCollectionName")]
    entity, project = given["entityName"], given["projectName"]
    server.projects.add((entity, project))
    before = [
        artifact
        for artifact in server.artifacts.values()
        if (artifact.entity, artifact.project, artifact.name) == (entity, project, names[0])
    ]
    same = [artifact for artifact in before if artifact.digest == given["digest"]]
    if same:  # the same files are the same version
        artifact = same[0]
    else:
        artifact = Artifact(
            id=f"artifact-{next(server.numbers)}",
            entity=entity,
            project=project,
            run=given.get("runName"),
            name=names[0],
            type=given["artifactTypeName"],
            digest=given["digest"],
            version=len(before),
            aliases=[alias["alias"] for alias in given.get("aliases") or []],
            metadata=json.loads(given.get("metadata") or "null"),
            description=given.get("description"),
        )
        server.artifacts[artifact.id] = artifact
    server.clients[given.get("clientID") or ""] = artifact.id
    latest = {"id": before[-1].id} if before else None
    said = {"id": artifact.id, "state": artifact.state, "artifactSequence": {"latestArtifact": latest}}
    return {"createArtifact": {"artifact": said}}


def _create_manifest(server: Any, variables: dict, query: str) -> dict:
    return {"createArtifactManifest": {"artifactManifest": _manifest(server, variables["artifactID"])}}


def _update_manifest(server: Any, variables: dict, query: str) -> dict:
    artifact = variables["artifactManifestID"].removeprefix("manifest-")
    return {"updateArtifactManifest": {"artifactManifest": _manifest(server, artifact)}}


def _manifest(server: Any, artifact: str) -> dict:
    url = f"{server.url}/storage/manifest/{artifact}/wandb_manifest.json"
    file = {"id": f"manifest-file-{artifact}", "uploadUrl": url, "uploadHeaders": [], "directUrl": url}
    return {"id": f"manifest-{artifact}", "file": file}


def _artifact_files(server: Any, variables: dict, query: str) -> dict:
    edges = []
    for spec in variables["input"]["artifactFiles"]:
        node = {
            "storagePath": f"{spec['artifactID']}/{spec['name']}",
            "uploadUrl": f"{server.url}/storage/artifact/{spec['artifactID']}/{quote(spec['name'])}",
            "uploadHeaders": [],
            "uploadMultipartUrls": None,
            "artifact": {"id": spec["artifactID"]},
        }
        edges.append({"node": node})
    return {"createArtifactFiles": {"files": {"edges": edges}}}


def _commit_artifact(server: Any, variables: dict, query: str) -> dict:
    artifact = server.artifacts[variables["artifactID"]]
    artifact.state = "COMMITTED"
    return {"commitArtifact": {"artifact": {"id": artifact.id, "digest": artifact.digest}}}


def _artifact(server: Any, variables: dict, query: str) -> dict:
    artifact = server.artifacts.get(variables.get("id") or variables.get("artifact_id") or "")
    return {"artifact": None if artifact is None else _artifact_node(server, artifact)}


def _artifact_type(server: Any, variables: dict, query: str) -> dict:
    path = _project_of(server, variables | {"name": None})
    name = variables["name"].partition(":")[0]
    types = [
        artifact.type
        for artifact in server.artifacts.values()
        if (artifact.entity, artifact.project, artifact.name) == (*path, name)
    ]
    return {"project": {"artifact": {"artifactType": {"name": types[-1]}} if types else None}}


def _artifact_node(server: Any, artifact: Any) -> dict:
    project = _project_node(artifact.entity, artifact.project)
    collection = {"__typename": "ArtifactSequence", "name": artifact.name, "project": project}
    aliases = [*artifact.aliases, f"v{artifact.version}"]
    return {
        "__typename": "Artifact",
        "id": artifact.id,
        "artifactSequence": collection,
        "versionIndex": artifact.version,
        "artifactType": {"name": artifact.type},
        "description": artifact.description,
        "metadata": json.dumps(artifact.metadata),
        "ttlDurationSeconds": -2,
        "ttlIsInherited": False,
        "tags": [],
        "historyStep": None,
        "state": artifact.state,
        "size": sum(map(len, artifact.files.values())),
        "digest": artifact.digest,
        "digestAlgorithm": "MANIFEST_MD5",
        "commitHash": artifact.id,
        "fileCount": len(artifact.files),
        "createdAt": WHEN,
        "updatedAt": WHEN,
        "aliases": [
            {"__typename": "ArtifactAlias", "id": alias, "alias": alias, "artifactCollection": collection}
            for alias in aliases
        ],
        "currentManifest": _manifest(server, artifact.id),
    }


def _upsert_view(server: Any, variables: dict, query: str) -> dict:
    entity, project = _project_of(server, variables)
    inserted = variables.get("id") not in server.views
    key = f"view-{next(server.numbers)}" if inserted else variables["id"]
    kept = {"entity": entity, "project": project, "name": variables["name"], "type": variables["type"]}
    kept |= {"displayName": variables["displayName"], "spec": json.loads(variables["spec"])}
    server.views[key] = kept
    return {"upsertView": {"view": {"id": key, "name": kept["name"]}, "inserted": inserted}}


def _views(server: Any, variables: dict, query: str) -> dict:
    edges = [
        {"node": {"id": key, "displayName": view["displayName"], "spec": json.dumps(view["spec"])}}
        for key, view in server.views.items()
        if (view["entity"], view["project"]) == (variables["entityName"], variables["name"])
        and variables["viewName"] in (None, view["name"])
    ]
    return {"project": {"allViews": {"edges": edges}}}


def _fixed(data: dict) -> Callable[[Any, dict, str], dict]:
    return lambda server, variables, query: data


OPERATIONS: dict[str, Callable[[Any, dict, str], dict]] = {
    **dict.fromkeys(["Viewer", "GetViewer", "GetDefaultEntity"], _viewer),
    **dict.fromkeys(["ServerFeaturesQuery", "ServerInfo"], _server_info),
    "UpsertBucket": _upsert_run,
    "RunResumeStatus": _resume_status,
    **dict.fromkeys(["Run", "RunState", "RunHistoryKeys", "HistoryPage", "RunFullHistory"], _run),
    **dict.fromkeys(["RunSampledHistory", "SampledHistoryPage", "RunParquetHistory", "QueryRunInfo"], _run),
    "Runs": _runs,
    "DeleteRun": _delete_run,
    "CreateRunFiles": _run_files,
    "RunFiles": _files_of_run,
    "MarkRunFilesUploaded": _fixed({"markRunFilesUploaded": {"success": True}}),
    "CreateArtifact": _create_artifact,
    "CreateArtifactManifest": _create_manifest,
    "UpdateArtifactManifest": _update_manifest,
    "CreateArtifactFiles": _artifact_files,
    "CommitArtifact": _commit_artifact,
    **dict.fromkeys(["ArtifactByID", "ArtifactManifest"], _artifact),
    "ArtifactType": _artifact_type,
    "ClientIDMapping": lambda server, variables, query: {
        "clientIDMapping": {"serverID": server.clients.get(variables["clientID"])}
    },
    "FetchArtifactDigestAlgorithm": _fixed({"project": None}),
    **dict.fromkeys(
        ["XXHashDigestsEnabled", "OrganizationCoreWeaveOrganizationID"], _fixed({"entity": None})
    ),
    "FetchOrgEntityFromEntity": _fixed({"entity": {"organization": None}}),
    "UpsertView2": _upsert_view,
    "View": _views,
}
