"""vLLM's Prometheus text."""

import pytest

from motet.errors import RequestRejectedError
from motet.serving.openai.metrics import ServerMetrics, read_cache_config, read_metrics
from tests.serving.openai.fake_vllm import FakeVLLM, with_engine

TEXT = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a b {c} \\"d\\""} 3.0
vllm:num_requests_running{engine="1",model_name="a"} 2.0
vllm:num_requests_waiting{engine="0",model_name="a"} 1.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 7.0
vllm:kv_cache_usage_perc{engine="0"} 0.25
vllm:kv_cache_usage_perc{engine="1"} 0.5
vllm:prefix_cache_queries_total{engine="0"} 1.2e+03
vllm:prefix_cache_queries_created{engine="0"} 1.795275229517404e+09
vllm:prefix_cache_hits_total{engine="0"} 640.0
vllm:num_preemptions_total{engine="0"} 4.0
vllm:prompt_tokens_total 9.0
vllm:cache_config_info{block_size="32",enable_prefix_caching="False",engine="0"} 1.0
python_gc_objects_collected_total{generation="0"} 5.0
"""


def test_counts_are_summed_over_engines():
    """The cache's usage is the largest; other metrics, and parts of names, do not count."""
    assert read_metrics(TEXT) == ServerMetrics(
        running=5,
        waiting=1,
        prefix_queries=1200,
        prefix_hits=640,
        preemptions=4,
        kv_usage=0.5,
        prompt_tokens=9,
    )


def test_labels_of_the_cache_are_read():
    """They tell whether prefixes are kept."""
    config = read_cache_config(TEXT)

    assert (config["block_size"], config["enable_prefix_caching"]) == ("32", "False")
    assert read_cache_config("") == {}


def test_text_of_another_server_is_none():
    """Then the engine says so."""
    assert read_metrics("python_gc_objects_collected_total 5.0\n<html>") is None

    server = FakeVLLM()
    del server.routes["/metrics"]
    with pytest.raises(RequestRejectedError):
        with_engine(server, lambda engine: engine.metrics())


def test_the_engine_reads_its_servers_metrics():
    """From the server's root, not from below its API."""
    server = FakeVLLM()

    assert with_engine(server, lambda engine: engine.metrics()) == ServerMetrics()
    assert server.paths == ["/metrics"]
