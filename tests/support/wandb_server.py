"""As much of a W&B server as its client asks for, on this machine; it keeps what it is sent."""

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "a" * 40
FEATURES = {"features": []}
VIEWER = {"id": "u", "entity": "me", "username": "me", "email": "me@here", "flags": "{}", "teams": {"edges": []}}
PROJECT = {"id": "p", "entity": {"id": "e", "name": "me"}}


class WandbServer(ThreadingHTTPServer):
    """Answers on a free port of this machine.

    Attributes:
        history: of each run's id, its rows as they were logged.
        configs: of each run's id, the newest configuration.
        files: of each (run's id, file's name), the bytes.
        artifacts: dicts of type, name and aliases.
        resumed: ids of the runs that the client found here, to go on with.
        commands: for an agent, one after the other.
        sweeps: configurations, in YAML or JSON.
        status: of the answer to whoever only looks whether there is a server.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.history, self.configs, self.files = {}, {}, {}
        self.artifacts, self.resumed, self.commands, self.sweeps = [], [], [], []
        self.status = 200

    def handle_error(self, request, client_address):
        """A client that hangs up is no fault."""

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=[0.05], daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def answer(self, name, given):
        """The data of a GraphQL query."""
        return getattr(self, f"answer_{name}", lambda given: {})(given)

    def answer_Viewer(self, given):
        return {"viewer": VIEWER}

    def answer_ServerFeaturesQuery(self, given):
        return {"serverInfo": FEATURES}

    def answer_RunResumeStatus(self, given):
        name, rows = given["name"], self.history.get(given["name"])
        if not rows:
            return {"model": {**PROJECT, "name": given["project"], "bucket": None}}
        self.resumed.append(name)
        counts = {"historyLineCount": len(rows), "eventsLineCount": 0, "logLineCount": 0}
        tails = {"historyTail": json.dumps([json.dumps(rows[-1])]), "eventsTail": "[]"}
        rest = {"summaryMetrics": "{}", "config": "{}", "tags": [], "notes": None, "wandbConfig": '{"t":1}'}
        bucket = {"id": "b", "name": name, "displayName": name, **counts, **tails, **rest}
        return {"model": {**PROJECT, "name": given["project"], "bucket": bucket}}

    def answer_UpsertBucket(self, given):
        name = given["name"]
        if given.get("config"):
            self.configs[name] = {k: v.get("value") for k, v in json.loads(given["config"]).items()}
        project = {**PROJECT, "name": given["project"]}
        named = {"id": "b", "name": name, "displayName": name, "description": None, "config": None}
        bucket = {**named, "sweepName": given.get("sweep"), "project": project, "historyLineCount": 0}
        return {"upsertBucket": {"bucket": bucket, "inserted": True}}

    def answer_CreateRunFiles(self, given):
        files = [{"name": name, "uploadUrl": f"{self.url}/upload/{given['run']}/{name}"} for name in given["files"]]
        return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}

    def answer_CreateArtifact(self, given):
        found = given["input"]
        aliases = [alias["alias"] for alias in found["aliases"]]
        name = found["artifactCollectionName"]
        self.artifacts.append({"type": found["artifactTypeName"], "name": name, "aliases": aliases})
        sequence = {"id": "s", "latestArtifact": None}
        # As if it had the files already, which are not sent then.
        return {"createArtifact": {"artifact": {"id": "a", "state": "COMMITTED", "artifactSequence": sequence}}}

    def answer_ArtifactType(self, given):
        return {"project": None}  # there is no artifact of that name yet

    def answer_UpsertSweep(self, given):
        self.sweeps.append(given["config"])
        return {"upsertSweep": {"sweep": {"name": "sweep", "project": {**PROJECT, "name": given["projectName"]}}}}

    def answer_SweepWithRuns(self, given):
        return {"project": {"sweep": {"name": "sweep", "config": self.sweeps[-1], "runs": {"edges": []}}}}

    def answer_CreateAgent(self, given):
        return {"createAgent": {"agent": {"id": "agent"}}}

    def answer_Heartbeat(self, given):
        commands = [self.commands.pop(0)] if self.commands else []
        return {"agentHeartbeat": {"agent": {"id": "agent"}, "commands": json.dumps(commands)}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self):
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(sent) if self.headers.get("Content-Encoding") == "gzip" else sent

    def reply(self, answer, status=200):
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        self.reply({}, self.server.status)

    def do_PUT(self):
        _, _, run, name = self.path.split("/", 3)
        self.server.files[run, name] = self.body()
        self.reply({})

    def do_POST(self):
        sent = self.body()
        if self.path == "/graphql":
            query = json.loads(sent)
            name = query.get("operationName") or query["query"].split("(")[0].split("{")[0].split()[-1]
            self.reply({"data": self.server.answer(name, query.get("variables") or {})})
        elif self.path.endswith("/file_stream"):
            self.keep_history(self.path.split("/")[-2], json.loads(sent).get("files") or {})
            self.reply({})
        else:
            self.reply({})

    def keep_history(self, run, files):
        chunk = files.get("wandb-history.jsonl")
        if chunk:
            rows = self.server.history.setdefault(run, [])
            rows[chunk["offset"] :] = [json.loads(line) for line in chunk["content"]]
