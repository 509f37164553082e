from berth.networks.processes import packets


def test_a_page_of_ids_fits_a_packet() -> None:
    ids = packets.page([f"{i:064x}" for i in range(2000)], "")
    assert len(ids) == packets.IDS_A_PAGE
    assert len(packets.encode(packets.Reply(2**31, ids=ids))) < packets.PACKET_LIMIT


def test_pages_follow_each_other() -> None:
    everything = {f"{i:04}" for i in range(1200)}
    seen: list[str] = []
    while page := packets.page(list(everything), seen[-1] if seen else ""):
        seen += page
    assert seen == sorted(everything)
