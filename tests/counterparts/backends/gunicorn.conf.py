"""How the bench runs gunicorn: with threads, of which each knows the request that it answers."""

import os
import sys

sys.path.insert(0, os.path.dirname(__file__))

worker_class = "gthread"
threads = 4
keepalive = 75
accesslog = "-"


def pre_request(worker, request):
    from wsgi import current

    current.request = request
