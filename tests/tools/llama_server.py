"""LLM servers for tests/it/llama.rs.

    llama_server.py llama KEY      llama.cpp's own HTTP server with a tiny model of random weights
    llama_server.py failures       mock-ai-api's OpenAI application, which fails on demand

Prints `LISTEN http://127.0.0.1:PORT` when it is ready and ends when its standard input does.
"""

import os
import socket
import sys
import tempfile
import threading

from ports import free_port

WORDS = (
    "the a of to and in is it for on with as at by from this that event order paid customer refund "
    "invoice webhook summary issue resolved user sent message new update failed retry done created "
    "support team ticket please review amount total product"
).split()


def end_with_parent():
    """The test holds our standard input open; its death, however sudden, closes it."""
    sys.stdin.buffer.read()
    os._exit(0)


def write_model(path):
    """A llama of two layers whose vocabulary is all bytes and some words. About 0.5 MB."""
    import gguf
    import numpy

    rng = numpy.random.default_rng(7)
    tokens = [b"<unk>", b"<s>", b"</s>"] + [f"<0x{i:02X}>".encode() for i in range(256)]
    tokens += [("\u2581" + word).encode() for word in WORDS] + ["\u2581".encode()]
    types = [2, 3, 3] + [6] * 256 + [1] * (len(WORDS) + 1)
    scores = [0.0, 0.0, 0.0] + [-1000.0] * 256 + [-float(i) for i in range(len(WORDS) + 1)]
    vocabulary, width, layers, heads, inner, context = len(tokens), 64, 2, 4, 128, 4096

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("random-tiny")
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // heads)
    writer.add_vocab_size(vocabulary)
    writer.add_file_type(0)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(True)
    writer.add_chat_template("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:")

    def tensor(name, *shape):
        writer.add_tensor(name, (rng.standard_normal(shape) * 0.3).astype(numpy.float32))

    ones = numpy.ones(width, numpy.float32)
    tensor("token_embd.weight", vocabulary, width)
    writer.add_tensor("output_norm.weight", ones)
    output = (rng.standard_normal((vocabulary, width)) * 0.3).astype(numpy.float32)
    output[:259] *= 0.0  # real words are likelier than bytes
    writer.add_tensor("output.weight", output)
    for layer in range(layers):
        block = f"blk.{layer}."
        writer.add_tensor(block + "attn_norm.weight", ones)
        writer.add_tensor(block + "ffn_norm.weight", ones)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            tensor(block + name + ".weight", width, width)
        tensor(block + "ffn_gate.weight", inner, width)
        tensor(block + "ffn_up.weight", inner, width)
        tensor(block + "ffn_down.weight", width, inner)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def llama(key):
    import xllamacpp

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "tiny.gguf")
        write_model(path)
        params = xllamacpp.CommonParams()
        params.port = free_port()
        params.api_keys = [key]
        params.model.path = path
        params.n_ctx = 8192
        params.n_parallel = 2
        params.warmup = False
        params.n_gpu_layers = 0
        params.cpuparams.n_threads = 1
        server = xllamacpp.Server(params)
        print("LISTEN", server.listening_address, flush=True)
        end_with_parent()


def failures():
    import uvicorn

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    print(f"LISTEN http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    threading.Thread(target=end_with_parent, daemon=True).start()
    config = uvicorn.Config("app.openai_app:app", log_level="error")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["llama", key]:
            llama(key)
        case ["failures"]:
            failures()
        case _:
            sys.exit(__doc__)
