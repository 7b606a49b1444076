"""What `serve` finds out before it loads anything."""

import socket


def test_an_address_that_is_taken_is_told_before_anything_loads(run, runner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, _, err = run("serve", "--port", str(taken.getsockname()[1]))
    assert (status, runner.made) == (1, {})
    assert "address already in use" in err
    assert "--port" in err


def test_a_host_that_does_not_exist_is_told_before_anything_loads(run, runner) -> None:
    status, _, err = run("serve", "--host", "256.0.0.1")
    assert (status, runner.made) == (1, {})
    assert "--host" in err
