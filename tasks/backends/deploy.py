"""Deploy: Azure serves a tuned model only under the name of a deployment, which its management API makes.

PUT and GET of `…/providers/Microsoft.CognitiveServices/accounts/{account}/deployments/{name}`; doing it twice is doing
it once. (Azure OpenAI, "Deploy a fine-tuned model".)
"""

from __future__ import annotations

import time

import httpx

from tasks import reach, settings
from tasks.errors import BackendError
from tasks.store import digest_of
from tasks.tuning import Deploy

VERSION = "2024-10-01"
OFFICIAL = "https://management.azure.com"
LOOKS = 240


def deployed(deploy: Deploy, model: str, poll: tuple[float, float]) -> str:
    """The name under which `model` answers; it is deployed if it is not. BackendError where it cannot be."""
    reach.check("tune.deploy.management_url", deploy.management_url, OFFICIAL)
    token = settings.secret(deploy.token_variable)
    if not token:
        raise BackendError(
            f"model {model!r} must be deployed before it answers: set {deploy.token_variable} "
            "(`az account get-access-token --query accessToken -o tsv`), then run the same command"
        )
    name = f"shardtune-{digest_of(model)[:12]}"
    url = (
        f"{deploy.management_url.rstrip('/')}/subscriptions/{deploy.subscription}/resourceGroups/"
        f"{deploy.resource_group}/providers/Microsoft.CognitiveServices/accounts/{deploy.account}/deployments/{name}"
    )
    body = {
        "sku": {"name": deploy.sku, "capacity": deploy.capacity},
        "properties": {"model": {"format": "OpenAI", "name": model, "version": "1"}},
    }
    asks = {"params": {"api-version": VERSION}, "headers": {"Authorization": f"Bearer {token}"}, "timeout": 60.0}
    with httpx.Client(transport=httpx.HTTPTransport(retries=3)) as client:
        found = client.get(url, **asks)  # type: ignore[arg-type]
        if found.status_code == 404:
            found = client.put(url, json=body, **asks)  # type: ignore[arg-type]
        for look in range(LOOKS):
            if found.status_code >= 400:
                raise BackendError(
                    f"deployment {name!r} of {model!r} was refused ({found.status_code}): check subscription, "
                    f"resource group, account and the token in {deploy.token_variable}"
                )
            state = found.json().get("properties", {}).get("provisioningState")
            if state == "Succeeded":
                return name
            if state in ("Failed", "Canceled", "Disabled"):
                raise BackendError(f"deployment {name!r} of {model!r} ended {state}: look at it in the Azure portal")
            time.sleep(min(poll[0] * 1.5**look, poll[1]))
            found = client.get(url, **asks)  # type: ignore[arg-type]
    raise BackendError(f"deployment {name!r} of {model!r} is still not ready: run the same command again later")
