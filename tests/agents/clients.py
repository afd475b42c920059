"""Real agents: how each is installed, started against a model of ours, and given a shell."""

import json
import os
import shutil
import subprocess
import sys

CACHE = os.environ.get("AGENTSH_AGENTS", os.path.expanduser("~/.cache/agentsh-agents"))
INSTALL_GUARD = 900.0
TASK = "Do as you are told."


class Client:
    """One agent. `tool` is the name of its shell tool, `command` the name of that tool's argument."""

    name = ""
    folder = ""
    has_background = False
    package = ""
    program = ""
    tool = ""
    command = ""
    # Does it end commands by a signal that leaves our launcher time to write to its log?
    cut_is_logged = True
    # Which of its argument names stand for what a step may ask for.
    arguments: dict[str, str] = {}
    # Does it take the first bash in PATH?
    by_path = False
    # Can it put a command aside, and go on, among others that it waits for?
    sets_aside = False
    # What differs from run to run in what it adds to a result, and what stands for that.
    varies: tuple[tuple[str, str], ...] = ()
    # What it doesn't run as it is given, or not tell of, and what does the same for it: in the commands, and in what results must tell.
    asked: dict[str, str] = {}
    told: dict[str, str] = {}

    def installed(self) -> str | None:
        """The program, if it is there."""
        path = f"{CACHE}/{self.folder}/{self.program}"
        return path if os.path.exists(path) else None

    def install(self) -> None:
        """From its registry, as this machine is configured."""
        os.makedirs(f"{CACHE}/{self.folder}", exist_ok=True)
        npm = ["npm", "install", "--no-audit", "--no-fund", "--prefix", f"{CACHE}/{self.folder}", self.package]
        subprocess.run(npm, check=True, timeout=INSTALL_GUARD, capture_output=True, stdin=subprocess.DEVNULL)

    def call(self, command: str, **wishes) -> tuple[str, dict]:
        """A call of its tool."""
        return self.tool, {self.command: command} | {self.arguments[wish]: value for wish, value in wishes.items() if wish in self.arguments}


class Claude(Client):
    """Claude Code takes the shell in SHELL."""

    name, folder, package = "claude", "claude", "@anthropic-ai/claude-code"
    program = "node_modules/.bin/claude"
    tool, command = "Bash", "command"
    arguments = {"timeout_ms": "timeout", "background": "run_in_background"}

    def start(self, url: str, shell: str, home: str) -> tuple[list[str], dict[str, str], dict[str, str]]:
        """argv, environment, and what is to be mounted where."""
        return [self.installed(), "-p", TASK, "--dangerously-skip-permissions"], {
            "ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "none", "SHELL": shell, "IS_SANDBOX": "1", "DISABLE_AUTOUPDATER": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
        }, {}


class ClaudeInBackground(Claude):
    """The same, free to put commands into the background, which it otherwise ends when their time is over."""

    name, has_background = "claude-background", True

    def start(self, url: str, shell: str, home: str) -> tuple[list[str], dict[str, str], dict[str, str]]:
        """As before, but for one variable."""
        argv, environment, mounts = super().start(url, shell, home)
        del environment["CLAUDE_CODE_DISABLE_BACKGROUND_TASKS"]
        return argv, environment, mounts


class Codex(Client):
    """Codex takes the login shell in /etc/passwd, whatever SHELL says."""

    name, folder, package = "codex", "codex", "@openai/codex"
    program = "node_modules/.bin/codex"
    tool, command = "exec_command", "cmd"
    arguments = {"yield_ms": "yield_time_ms"}
    cut_is_logged = False

    def start(self, url: str, shell: str, home: str) -> tuple[list[str], dict[str, str], dict[str, str]]:
        """argv, environment, and what is to be mounted where."""
        with open("/etc/passwd", encoding="utf-8") as file:
            lines = [line.rstrip("\n").split(":") for line in file]
        with open(f"{home}/passwd", "w", encoding="utf-8") as file:
            for fields in lines:
                file.write(":".join([*fields[:-1], shell if fields[2] == str(os.getuid()) else fields[-1]]) + "\n")
        os.mkdir(f"{home}/.codex")
        provider = f'{{name="local",base_url="{url}/v1",wire_api="responses",env_key="LOCAL_KEY"}}'
        return [self.installed(), "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox",
                "-c", 'model_provider="local"', "-c", f"model_providers.local={provider}", "-m", "gpt-5.2-codex", TASK], {
            "LOCAL_KEY": "none", "CODEX_HOME": f"{home}/.codex",
        }, {"/etc/passwd": f"{home}/passwd"}


class Mini(Client):
    """mini-swe-agent takes /bin/sh."""

    name, folder, package = "mini", "mini", "mini-swe-agent"
    program = "bin/mini"
    tool, command = "bash", "command"
    cut_is_logged = False

    def install(self) -> None:
        """Into a virtual environment; with what its library for models needs and doesn't say."""
        folder = f"{CACHE}/{self.folder}"
        shutil.rmtree(folder, ignore_errors=True)
        for words in ([sys.executable, "-m", "venv", folder], [f"{folder}/bin/pip", "install", "-q", self.package, "mcp"]):
            subprocess.run(words, check=True, timeout=INSTALL_GUARD, capture_output=True, stdin=subprocess.DEVNULL)

    def start(self, url: str, shell: str, home: str) -> tuple[list[str], dict[str, str], dict[str, str]]:
        """argv, environment, and what is to be mounted where."""
        settings = [f"model.model_kwargs.api_base={url}/v1", "model.cost_tracking=ignore_errors", "environment.timeout=10"]
        words = [word for setting in settings for word in ("-c", setting)]
        mounts = {os.path.realpath("/bin/sh"): f"{os.path.dirname(shell)}/sh"}
        return [self.installed(), "-c", "mini.yaml", *words, "-m", "openai/scripted", "-y", "--exit-immediately", "-l", "0", "-t", TASK,
                "-o", f"{home}/trajectory.json"], {
            "OPENAI_API_KEY": "none", "MSWEA_CONFIGURED": "true", "MSWEA_GLOBAL_CONFIG_DIR": f"{home}/mini", "MSWEA_SILENT_STARTUP": "1",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }, mounts


class Gemini(Client):
    """Gemini CLI takes the first bash in PATH, whatever SHELL says."""

    name, folder, package = "gemini", "gemini", "@google/gemini-cli"
    program = "node_modules/.bin/gemini"
    tool, command = "run_shell_command", "command"
    # No argument says how long a command may take: there is a setting for how long one may be silent.
    arguments = {"background": "is_background"}
    by_path = sets_aside = True
    varies = ((r"PIDs: \d+", "PIDs: @"), (r"(line \d+): +\d+ (Killed|Terminated)", r"\1: @ \2"), (r"/session-[\w-]+/", "/session-@/"))
    # It runs nothing that has `, $( or $(( in it, be it quoted, and takes `sh -c` away where a command begins with that.
    asked = {"`here`": "'here'", "echo $((6 * 7))": "let n=6*7; echo $n", "sh -c 'kill": "command sh -c 'kill"}

    def start(self, url: str, shell: str, home: str) -> tuple[list[str], dict[str, str], dict[str, str]]:
        """argv, environment, and what is to be mounted where."""
        os.mkdir(f"{home}/.gemini")
        settings = {
            "general": {"enableAutoUpdate": False},
            "privacy": {"usageStatisticsEnabled": False},
            "security": {"auth": {"selectedType": "gemini-api-key"}},
            "tools": {"shell": {"inactivityTimeout": 10}},
        }
        with open(f"{home}/.gemini/settings.json", "w", encoding="ascii") as file:
            json.dump(settings, file)
        return [self.installed(), "-m", "gemini-2.5-pro", "--approval-mode", "yolo", "-p", TASK], {
            "GEMINI_API_KEY": "none", "GOOGLE_GEMINI_BASE_URL": url, "GEMINI_CLI_TRUST_WORKSPACE": "true",
            # It starts itself once more otherwise, with other options for its heap.
            "GEMINI_CLI_NO_RELAUNCH": "true",
        }, {}


class Opencode(Client):
    """opencode takes the shell in SHELL."""

    name, folder, package = "opencode", "opencode", "opencode-ai"
    program = "node_modules/.bin/opencode"
    tool, command = "bash", "command"
    arguments = {"timeout_ms": "timeout"}
    # With plain bash too: of more than 100 kB it keeps the last pieces, as they came out of the pipe, which is another text each time;
    # and while it writes a long output to a file of its own, it doesn't read what comes just before the command's end.
    asked = {"head -c 300000 /dev/zero | tr '\\0' x; echo; seq 3": "head -c 80000 /dev/zero | tr '\\0' x | fold; echo; seq 3; sleep 0.5"}
    # Its model isn't told the exit status.
    told = {"127": "not found"}

    def call(self, command: str, **wishes) -> tuple[str, dict]:
        """No more than a minute: that a signal has ended a shell, plain bash or ours, it only sees when the time given is over."""
        tool, arguments = super().call(command, **wishes)
        return tool, arguments | ({"timeout": min(arguments["timeout"], 60_000)} if "timeout" in arguments else {})

    def start(self, url: str, shell: str, home: str) -> tuple[list[str], dict[str, str], dict[str, str]]:
        """argv, environment, and what is to be mounted where."""
        model = {"name": "Scripted", "tool_call": True, "limit": {"context": 1000000, "output": 8000}}
        settings = {
            "provider": {"local": {
                "npm": "@ai-sdk/openai-compatible", "name": "Local", "models": {"scripted": model},
                "options": {"baseURL": f"{url}/v1", "apiKey": "none"},
            }},
            "model": "local/scripted", "small_model": "local/scripted", "permission": {"*": "allow"},
        }
        with open(f"{home}/opencode.json", "w", encoding="ascii") as file:
            json.dump(settings, file)
        return [self.installed(), "run", TASK], {
            "OPENCODE_CONFIG": f"{home}/opencode.json", "SHELL": shell, "OPENCODE_DISABLE_AUTOUPDATE": "1",
            "OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_LSP_DOWNLOAD": "1", "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
            # For plugins, of which there are none, it looks in npm's registry at each start.
            "npm_config_offline": "true",
        }, {}


CLIENTS: dict[str, Client] = {
    client.name: client for client in (Claude(), ClaudeInBackground(), Codex(), Mini(), Gemini(), Opencode())
}
