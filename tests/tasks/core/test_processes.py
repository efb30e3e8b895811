"""Processes: a child gets what it needs of the environment, and no secret besides."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from tasks.core import processes

# Names as the documents of each provider, library and CI write them.
SECRETS = """OPENAI_API_KEY OPENAI_ADMIN_KEY AZURE_OPENAI_API_KEY GEMINI_API_KEY GOOGLE_API_KEY ANTHROPIC_API_KEY
WANDB_API_KEY COMET_API_KEY GOOGLE_APPLICATION_CREDENTIALS CLOUDSDK_AUTH_ACCESS_TOKEN AWS_ACCESS_KEY_ID
AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_PROFILE AWS_SHARED_CREDENTIALS_FILE AWS_WEB_IDENTITY_TOKEN_FILE
AWS_CONTAINER_CREDENTIALS_RELATIVE_URI AZURE_CLIENT_SECRET AZURE_STORAGE_KEY AZURE_STORAGE_CONNECTION_STRING
AZURE_STORAGE_SAS_TOKEN MLFLOW_TRACKING_PASSWORD MLFLOW_TRACKING_TOKEN MLFLOW_FLASK_SERVER_SECRET_KEY PREFECT_API_KEY
PREFECT_API_AUTH_STRING PREFECT_SERVER_API_AUTH_STRING PREFECT_API_DATABASE_CONNECTION_URL PGPASSWORD PGPASSFILE
POSTGRES_PASSWORD DATABASE_URL HF_TOKEN HUGGING_FACE_HUB_TOKEN GITHUB_TOKEN CI_JOB_TOKEN SSH_AUTH_SOCK
DOCKER_AUTH_CONFIG KUBECONFIG NETRC SHARDTUNE_PASSWORD TWINE_PASSWORD NPM_TOKEN VAULT_TOKEN
PREFECT_CLIENT_CUSTOM_HEADERS OTEL_EXPORTER_OTLP_HEADERS OPENAI_CUSTOM_HEADERS GITHUB_PAT MYSQL_PWD""".split()
PLAIN = """PATH HOME PWD LANG TMPDIR PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV CUDA_VISIBLE_DEVICES NCCL_DEBUG
OMP_NUM_THREADS MKL_NUM_THREADS PYTORCH_CUDA_ALLOC_CONF HF_HOME HF_HUB_OFFLINE HF_ENDPOINT HF_HUB_DISABLE_IMPLICIT_TOKEN
TOKENIZERS_PARALLELISM http_proxy HTTPS_PROXY NO_PROXY SSL_CERT_FILE REQUESTS_CA_BUNDLE SHARDTUNE_ROOT
SHARDTUNE_ALLOWED SLURM_JOB_ID MASTER_ADDR MASTER_PORT WORLD_SIZE AWS_REGION AWS_ENDPOINT_URL MLFLOW_TRACKING_URI
PREFECT_API_URL GOOGLE_CLOUD_PROJECT XDG_CACHE_HOME""".split()


def test_secrets_stay_behind_and_all_else_goes_on():
    given = {name: "http://proxy:3128" if "proxy" in name.lower() else "x" for name in (*SECRETS, *PLAIN)}
    assert sorted(processes.environment(given=given)) == sorted(PLAIN)


@pytest.mark.parametrize(
    ("opens", "more"),
    [
        ("hub", {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}),
        ("s3://shop/root", {name for name in SECRETS if name.startswith("AWS_")}),
        ("gs://shop", {"GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_AUTH_ACCESS_TOKEN"}),
        ("prefect", {name for name in SECRETS if name.startswith("PREFECT_")}),
        ("/a/folder", set()),
    ],
)
def test_a_child_gets_the_secrets_of_what_it_opens(opens, more):
    assert set(processes.environment(opens, given=dict.fromkeys(SECRETS, "x"))) == more


@pytest.mark.parametrize(
    ("root", "needs"),
    [
        ("s3://shop/root", "AWS_SECRET_ACCESS_KEY FSSPEC_S3_SECRET FSSPEC_S3_KEY"),
        ("s3a://shop/root", "AWS_SECRET_ACCESS_KEY"),
        ("gcs://shop/root", "GOOGLE_APPLICATION_CREDENTIALS FSSPEC_GCS_TOKEN"),
        ("abfss://shop@account.dfs.core.windows.net/root", "AZURE_STORAGE_CONNECTION_STRING FSSPEC_ABFSS_ACCOUNT_KEY"),
    ],
)
def test_a_root_under_any_name_of_its_scheme_is_opened_by_a_child(root, needs):
    assert set(processes.environment("hub", root, given=dict.fromkeys(needs.split(), "x"))) == set(needs.split())
    assert processes.environment("hub", "/a/folder", given=dict.fromkeys(needs.split(), "x")) == {}


def test_an_address_with_a_password_is_a_secret_but_for_the_way_out():
    given = dict.fromkeys(
        ("MLFLOW_TRACKING_URI", "SOME_SERVICE", "https_proxy", "PIP_INDEX_URL"), "https://me:word@host/"
    )
    assert set(processes.environment(given=given)) == {"https_proxy", "PIP_INDEX_URL"}
    assert "MLFLOW_TRACKING_URI" in processes.environment("mlflow", given=given)


def test_a_process_that_nobody_has_reaped_has_ended():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    known = processes.identity(psutil.Process(child.pid))
    assert not processes.ended(known, 0.1)
    child.kill()
    assert processes.ended(known)  # a zombie: psutil's own wait would go on as long as this process does not look
    child.communicate()


@pytest.mark.parametrize("pid", [0, -1, -(2**40), 2**70, "x", None, 1.5, True, [], float("inf")])
def test_a_number_that_is_no_process_is_none(pid):
    started = processes.identity()["started"]
    found = processes.alive({"pid": pid, "started": started})
    assert found is None or found.pid > 0  # 1.5 and True read as 1
    assert processes.alive({"pid": pid}) is None and processes.alive({"started": started}) is None
