"""Azure: it serves a tuned model only under the name of a deployment, which its management API makes.

PUT and GET of `…/providers/Microsoft.CognitiveServices/accounts/{account}/deployments/{name}` may both be repeated.
(Azure OpenAI, "Deploy a fine-tuned model".)
"""

from __future__ import annotations

import time
from typing import Any

import httpx

from tasks.backends import endpoint, limits
from tasks.core import settings
from tasks.core.errors import BackendError, LimitError, MissingExtraError, TransientError
from tasks.core.store import digest_of
from tasks.recipe import allowed
from tasks.recipe.tuning import Deploy

VERSION = "2024-10-01"
OFFICIAL = "https://management.azure.com"
SCOPE = f"{OFFICIAL}/.default"
LOOKS = 240
ATTEMPTS = 6  # on 429, 5xx and lost answers: both calls may be made twice


def deployed(deploy: Deploy, model: str, poll: tuple[float, float]) -> str:
    """Deploy `model` unless it is deployed. Returns the deployment's name. BackendError if Azure refuses."""
    endpoint.checked("tune.deploy.management_url", deploy.management_url, deploy.token_variable)
    allowed.check("tune.deploy.management_url", deploy.management_url, OFFICIAL)
    endpoint.trusting()
    name = f"shardtune-{digest_of(model)[:12]}"
    url = (
        f"{deploy.management_url.rstrip('/')}/subscriptions/{deploy.subscription}/resourceGroups/"
        f"{deploy.resource_group}/providers/Microsoft.CognitiveServices/accounts/{deploy.account}/deployments/{name}"
    )
    body = {
        "sku": {"name": deploy.sku, "capacity": deploy.capacity},
        "properties": {"model": {"format": "OpenAI", "name": model, "version": "1"}},
    }
    what = f"deploying {model!r} as {name!r}"
    with httpx.Client(timeout=60.0) as client:
        management = Management(client, url, deploy, what, poll)
        deployment = management.call("GET") or management.call("PUT", body)
        for look in range(LOOKS):
            state = _state(deployment, what)
            if state == "Succeeded":
                return name
            if state in ("Failed", "Canceled", "Disabled"):
                raise BackendError(f"deployment {name!r} of {model!r} ended {state}: look at it in the Azure portal")
            time.sleep(min(poll[0] * 1.5**look, poll[1]))
            deployment = management.call("GET")
    raise TransientError(f"deployment {name!r} of {model!r} is still not ready: run the same command again later")


class Management:
    """Azure's management API for one deployment. Fetches a token when it needs one, and again after it has expired."""

    def __init__(self, client: httpx.Client, url: str, deploy: Deploy, what: str, poll: tuple[float, float]) -> None:
        self.client, self.url, self.deploy, self.what, self.poll = client, url, deploy, what, poll
        self.token, self.fetched = settings.secret(deploy.token_variable), False

    def call(self, method: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """The deployment as Azure describes it; None if there is none. TransientError if Azure does not answer."""
        for attempt in range(ATTEMPTS):
            try:
                response = self._sent(method, body)
                if response.status_code == 404 and method == "GET":
                    return None
                if response.status_code < 400:
                    value = response.json()
                    if isinstance(value, dict):
                        return value
                    raise ValueError(f"{type(value).__name__} and no object")
                error = self._refused(response)
            except httpx.HTTPError as failed:
                error = TransientError(f"{self.what}: {endpoint.unanswered(failed)}")
            except ValueError:
                error = TransientError(f"{self.what}: the answer is not in Azure's format: a proxy may have answered")
            if not isinstance(error, TransientError) or attempt == ATTEMPTS - 1:
                raise error
            time.sleep(min(self.poll[0] * 2**attempt, self.poll[1]))
        raise AssertionError("unreachable")

    def _sent(self, method: str, body: dict[str, Any] | None) -> httpx.Response:
        for _ in range(2):
            if not self.token:
                self.token, self.fetched = fetched(self.deploy.token_variable, self.what), True
            headers = {"Authorization": f"Bearer {endpoint.key_of(self.deploy.token_variable, self.token)}"}
            asks: dict[str, Any] = {"params": {"api-version": VERSION}, "headers": headers}
            response = self.client.request(method, self.url, json=body, **asks)
            if response.status_code != 401 or self.fetched:
                return response
            # The token from the variable is valid for an hour, a job may take many.
            self.token = None
        return response

    def _refused(self, response: httpx.Response) -> BackendError:
        text = f"{self.what}: Azure says {response.status_code} {_words(response)}".rstrip()
        if response.status_code == 429:
            return LimitError(text, limits.until(response.headers.get("retry-after"), False))
        if response.status_code in (408, 409) or response.status_code >= 500:
            return TransientError(text)
        return BackendError(
            f"{text}: check subscription, resource group and account in tune.deploy, and the role of whoever deploys"
        )


def fetched(variable: str, what: str) -> str:
    """A bearer token of the account that is logged in on this machine. BackendError if there is none."""
    try:
        from azure.core.exceptions import ClientAuthenticationError
        from azure.identity import CredentialUnavailableError, DefaultAzureCredential
    except ImportError as error:
        raise MissingExtraError("azure-identity", "openai") from error
    try:
        with DefaultAzureCredential() as credential:
            return str(credential.get_token(SCOPE).token)
    except (ClientAuthenticationError, CredentialUnavailableError, ValueError) as error:
        raise BackendError(
            f"{what}: no valid Azure token: run `az login`, or set AZURE_CLIENT_ID, AZURE_TENANT_ID and "
            f"AZURE_CLIENT_SECRET, or {variable} (`az account get-access-token --query accessToken -o tsv`); then run "
            "the same command"
        ) from error


def _state(deployment: dict[str, Any] | None, what: str) -> str | None:
    properties = (deployment or {}).get("properties")
    if deployment is not None and not isinstance(properties, dict):
        raise TransientError(f"{what}: the answer is not in Azure's format: it has no properties")
    return (properties or {}).get("provisioningState")


def _words(response: httpx.Response) -> str:
    """Azure's own words for an error, in one line of at most 200 characters."""
    try:
        error = response.json()["error"]
        return " ".join(f"{error.get('code')} - {error.get('message')}".split())[:200]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
