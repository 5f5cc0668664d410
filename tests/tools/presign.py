"""Signs a URL of S3 as AWS's own Python SDK does: a JSON object on standard input, the URL on standard output."""

import datetime
import json
import sys

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

asked = json.load(sys.stdin)
now = datetime.datetime.fromtimestamp(asked["now"], datetime.timezone.utc)
botocore.auth.get_current_datetime = lambda *_, **__: now.replace(tzinfo=None)
credentials = Credentials(asked["access_key"], asked["secret_key"], asked["token"])
request = AWSRequest(asked["method"], asked["url"], headers=dict(asked["headers"]))
botocore.auth.S3SigV4QueryAuth(credentials, "s3", asked["region"], expires=asked["expires"]).add_auth(request)
print(request.url)
