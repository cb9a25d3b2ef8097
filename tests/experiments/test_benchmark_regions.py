import json

from bharnet_mm.datasets.extraction.regions import extract_regions
from bharnet_mm.datasets.regions import RegionGrid
from bharnet_mm.datasets.synthetic.sample import write_sample
from bharnet_mm.datasets.synthetic.videos import write_videos
from bharnet_mm.experiments import benchmark_regions


def test_reads_both_and_writes_the_rates(tmp_path):
    sample = write_sample(tmp_path / 'store', clips_per_class=1)
    sample.gestures = sample.gestures[:3]
    write_videos(tmp_path / 'videos', sample, workers=0)
    extract_regions(
        tmp_path / 'videos',
        tmp_path / 'store',
        tmp_path / 'regions',
        RegionGrid(cell=16),
        workers=0,
    )
    places = [str(tmp_path / name) for name in ('store', 'videos', 'regions')]
    rows = benchmark_regions.main(
        [
            *places,
            '--clips',
            '5',
            '--rounds',
            '1',
            '--workers',
            '0',
            '--out',
            str(tmp_path / 'x.json'),
        ]
    )
    assert json.loads((tmp_path / 'x.json').read_text()) == rows
    assert rows['workers_0']['store_clips_per_s'] > 0 < rows['workers_0']['videos_clips_per_s']
    assert rows['clips'] == 5 and rows['frame_size'] == [480, 270]
