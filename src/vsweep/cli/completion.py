"""Completion scripts for the shells: commands, flags, and the choices of every config group."""

import shlex

import shtab

from vsweep.cli.arguments import parser
from vsweep.config.groups import CHOICES, options
from vsweep.errors import ConfigError, suggest

# Each function offers the choices of every group, and the sweep files in ./sweeps.
_WORDS = {
    # Bash may split words at "=", and then completes only the part behind it.
    "bash": """
_vsweep_words() {
  local word="${COMP_LINE:0:COMP_POINT}" words="@WORDS@" file
  word="${word##* }"
  for file in sweeps/*.yaml; do
    [ -e "$file" ] && file="${file#sweeps/}" && words="$words sweep=${file%.yaml}"
  done
  local cut=""
  [[ "$COMP_WORDBREAKS" == *=* && "$word" == *=* ]] && cut="${word%%=*}="
  compgen -W "$words" -- "$word" | sort -u | while IFS= read -r word; do echo "${word#"$cut"}"; done
}
""",
    "zsh": """
_vsweep_words() {
  local file
  local -aU choices=(@WORDS@)
  for file in sweeps/*.yaml(N:t:r); do choices+=("sweep=$file"); done
  compadd -a choices
}
""",
    "fish": """
function _vsweep_words
  printf '%s\n' @WORDS@
  for file in sweeps/*.yaml; echo sweep=(basename $file .yaml); end
end
""",
}


def completion_script(shell: str | None) -> str:
    """Return the completion script of a shell: bash, zsh or fish. Raises `ConfigError`."""
    if shell not in _WORDS:
        got = "got nothing" if shell is None else f"got {shell!r}"
        raise ConfigError("completion", got, suggest(shell or "", _WORDS))
    words = [f"{group}={choice}" for group in CHOICES for choice in options(group)]
    preamble = _WORDS[shell].replace("@WORDS@", " ".join(map(shlex.quote, words)))
    return shtab.complete(parser()[0], shell, preamble=preamble)
