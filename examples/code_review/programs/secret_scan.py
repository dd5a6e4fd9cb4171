"""Analyser: secrets in every text file of the commit, by the rules of `rules/secrets.yaml`. No value is ever printed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # isolated mode leaves our own package out

from code_review import tokens
from code_review.analysis import Answer, Job, by_hand, run


def analyse(job: Job, answer: Answer) -> None:
    """Scan the files as they are at the pinned commit; older commits are not searched, and the answer says so."""
    rules = tokens.load()
    answer.version, answer.command = f"rules {rules.version}", by_hand("secret_scan.py")
    answer.notes.append("the files of the pinned commit are searched, not the history before it")
    if not job.files:
        answer.status, answer.reason = "not applicable", "no text files"
        return
    salt = job.commit.encode()
    for file in job.files:
        try:
            text = job.text(file)
        except OSError:
            answer.skipped.append({"path": file["path"], "reason": "could not be read"})
            continue
        answer.files += 1
        hits = tokens.scan(text, rules)
        for hit in hits:
            answer.add(hit.rule, hit.severity, file["path"], hit.line, hit.message(salt), column=hit.column)
        if len(hits) >= tokens.MAX_HITS_A_FILE:
            answer.notes.append(f"{file['path']}: only the first {tokens.MAX_HITS_A_FILE} secrets are listed")


if __name__ == "__main__":
    sys.exit(run("secrets", analyse))
