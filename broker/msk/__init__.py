"""The control plane of a local Amazon MSK: the service's own API on bundled brokers. NOT FOR PRODUCTION.

    replicator-broker msk serve --listen 127.0.0.1:8440 --data DIR
    aws kafka list-clusters-v2 --endpoint-url http://127.0.0.1:8440

Reading order: `server` takes a request, `model` (botocore's description of the service) says which operation it is
and whether its shape holds, `authentication` who asks, `authorization` whether they may, and a function in `api/`,
registered by the operation's name, answers. What is kept stands in `state`; `clusters/` runs the processes.
"""
