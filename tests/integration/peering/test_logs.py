"""What an executor tells of what its guests print."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.model.event import Kind
from runner.model.session import Printed
from runner.model.task import Export
from runner.model.value import Value
from tests.peers import ID, is_finished, submit, talking, word
from tests.rpc import desk

pytestmark = pytest.mark.timeout(90)


async def test_a_log_goes_on_behind_its_place_and_large_ones_are_whole(tmp_path: Path) -> None:
    script = "seq 200000; seq 1000 >&2"
    out = b"".join(b"%d\n" % number for number in range(1, 200_001))
    async with desk(tmp_path) as at:
        async with talking(at.channel) as talk:
            instance = (await talk.hello()).instance
            await talk.say(submit(instance, script))
            await talk.finished(ID)
            assert talk.printed[ID] == {"stdout": out, "stderr": out[: out.index(b"1001\n")]}
            assert is_finished(talk.heard[-1], ID)
            pieces = talk.pieces
        assert len(pieces) > 3
        for count in (1, 2, len(pieces) // 2, len(pieces) - 1, len(pieces)):
            async with talking(at.channel) as talk:
                await talk.hello(live=(ID,))
                await talk.say(submit(instance, script, printed=pieces[count - 1].position))
                await talk.finished(ID)
                for stream in ("stdout", "stderr"):
                    left = b"".join(piece.data for piece in pieces[count:] if piece.stream == stream)
                    assert b"".join(piece.data for piece in talk.pieces if piece.stream == stream) == left


async def test_what_a_log_has_given_up_is_told(tmp_path: Path) -> None:
    spec = {"limits": {"log": "64KiB"}}
    script = "seq 100000"
    whole = b"".join(b"%d\n" % number for number in range(1, 100_001))
    async with desk(tmp_path) as at:
        async with talking(at.channel) as first:
            instance = (await first.hello(live=(ID,))).instance
            await first.say(submit(instance, script, spec=spec))
            await first.finished(ID)
        missing, position, begin = 0, 0, 0
        for _ in range(2):  # from the beginning, and from behind the first piece that there still is
            async with talking(at.channel) as talk:
                await talk.hello(live=(ID,))
                await talk.say(submit(instance, script, spec=spec, printed=position))
                await talk.finished(ID)
                reached = begin
                for piece in talk.pieces:
                    reached += piece.missing
                    missing += piece.missing
                    assert piece.data == whole[reached : reached + len(piece.data)]
                    reached += len(piece.data)
                assert reached == len(whole)
                assert talk.noticed(ID, Kind.LOG_GAP)
                position, begin = talk.pieces[0].position, len(talk.pieces[0].data)
        assert missing > len(whole)


async def test_a_log_that_is_masked_again_is_told_afresh(tmp_path: Path) -> None:
    script = 'echo "it is swordfish-9, hush"; echo "and swordfish-9" >&2; while [ ! -e "$DIR/go" ]; do sleep 0.02; done; echo key=swordfish-9 >> $OUTPUT_FILE'
    exports = [Export(name="key", confidential=True)]
    spec = {"envs": {"DIR": str(tmp_path)}}
    masked = {"stdout": b"it is ***, hush\n", "stderr": b"and ***\n"}
    async with desk(tmp_path / "state") as at:
        async with talking(at.channel) as talk:
            instance = (await talk.hello()).instance
            await talk.say(submit(instance, script, spec=spec, exports=exports))
            await talk.until(lambda said: isinstance(said, Printed) and said.stream == "stderr")
            assert talk.printed[ID]["stdout"] == b"it is swordfish-9, hush\n"
            before = talk.pieces[-1].position
            after = talk.reports(ID)[-1].sequence
            (tmp_path / "go").touch()
            outcome = await talk.outcome(ID)
            assert outcome.outputs == {"key": Value("swordfish-9", True)}
            assert talk.printed[ID] == masked
            words = [word(said) for said in talk.heard]
            assert words.count("afresh") == 1
            redacted = words.index("log_redacted")
            assert "printed" in words[words.index("afresh") : redacted]
            assert "printed" not in words[redacted:]
            told = {fields["stream"] for fields in talk.noticed(ID, Kind.LOG_REDACTED)}
            assert told == {"stdout", "stderr"}
        # One who was cut off before that hears it all the same; one who has heard it goes on behind.
        async with talking(at.channel) as talk:
            await talk.hello(live=(ID,))
            await talk.say(submit(instance, script, spec=spec, exports=exports, after=after, printed=before))
            end = await talk.finished(ID)
            assert talk.printed[ID] == masked
            behind = talk.pieces[-1].position
        async with talking(at.channel) as talk:
            await talk.hello(live=(ID,))
            await talk.say(submit(instance, script, spec=spec, exports=exports, after=end.sequence - 1, printed=behind))
            await talk.finished(ID)
            assert talk.told(ID) == ["finished"]
            assert ID not in talk.printed
