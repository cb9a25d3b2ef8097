import numpy as np

from bharnet_mm.experiments import damage as tool


def test_same_damage_for_every_entry_and_another_for_every_seed(make_results):
    noise = tool.CONDITIONS['noise'].make(0.1)
    results = make_results(persons=2)
    before = np.random.get_state()[1].copy()
    first = tool.Damage(noise, 0)(results)['body']
    assert (
        np.random.get_state()[1] == before
    ).all()  # the pipeline's own numbers stay as they were
    np.random.random(7)
    visible = results['body_visible']
    np.testing.assert_array_equal(first[visible], tool.Damage(noise, 0)(results)['body'][visible])
    assert (first[visible] != tool.Damage(noise, 1)(results)['body'][visible]).any()
    other = results | {'clip_id': 'another'}
    assert (first[visible] != tool.Damage(noise, 0)(other)['body'][visible]).any()


def test_one_hand_of_each_person_is_lost(make_results):
    results = make_results(persons=2, gaps=False)
    lost = tool.Damage(tool.CONDITIONS['one_hand_missing'].make(1.0), 0)(results)
    assert lost['hand_visible'].any(-1).sum(1).tolist() == [1, 1]
    assert results['hand_visible'].all()
    kept = tool.drop_one_hand(results, 0.0)
    assert kept['hand_visible'].all()
    sides = {
        tool.Damage(tool.CONDITIONS['one_hand_missing'].make(1.0), seed)(results)['hand_visible'][
            0, 0, 0
        ].item()
        for seed in range(20)
    }
    assert sides == {True, False}


def test_hands_are_exchanged_with_their_masks(make_results):
    results = make_results()
    swapped = tool.swap_hands(results, 1.0)
    np.testing.assert_array_equal(swapped['hand_visible'][:, 0], results['hand_visible'][:, 1])
    again = tool.swap_hands(swapped, 1.0)
    for name in ('hand', 'hand_visible'):
        np.testing.assert_array_equal(again[name], results[name])
    assert tool.swap_hands(results, 0.0) is results


def test_marks_of_filled_joints_follow_their_frames_and_hands(make_results):
    results = make_results(frames=50, persons=2)
    draw = np.random.default_rng(0)
    for part in ('body', 'hand'):
        results[f'{part}_joint_visible'] = draw.random(results[part].shape[:-1]) < 0.5
    slow = tool.keep_every(results, 3)
    for part in ('body', 'hand'):
        known = results[f'{part}_joint_visible']
        np.testing.assert_array_equal(slow[f'{part}_joint_visible'], known[..., ::3, :])
    swapped = tool.swap_hands(results, 1.0)['hand_joint_visible']
    np.testing.assert_array_equal(swapped[:, 0], results['hand_joint_visible'][:, 1])


def test_a_slower_camera_keeps_every_third_frame(make_results):
    results = make_results(frames=50, persons=2, pixels=True)
    slow = tool.keep_every(results, 3)
    assert slow['total_frames'] == 17 and slow['fps'] == 10
    np.testing.assert_array_equal(slow['frame_index'], results['frame_index'][::3])
    np.testing.assert_array_equal(slow['hand_visible'], results['hand_visible'][:, :, ::3])
    np.testing.assert_array_equal(slow['body'], results['body'][:, ::3])
    np.testing.assert_array_equal(slow['body_pixel'], results['body_pixel'][:, ::3])


def test_every_condition_makes_a_transform(make_results):
    for condition in tool.CONDITIONS.values():
        for level in condition.levels:
            tool.Damage(condition.make(level), 0)(make_results())
