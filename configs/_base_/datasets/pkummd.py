_base_ = 'ntu.py'

store = f'{_base_.data_root}/pkummd'  # python tools/data/pku_mmd.py, then extract_hands.py
protocol = 'xsub'  # or 'xview'

train_dataloader = dict(dataset=dict(store=store, split=f'{protocol}_train'))
val_dataloader = test_dataloader = dict(dataset=dict(store=store, split=f'{protocol}_test'))
