_base_ = 'ntu.py'

store = f'{_base_.data_root}/ntu60'  # python tools/data/ntu.py, then extract_hands.py
protocol = 'xsub'  # or 'xview'

train_dataloader = dict(dataset=dict(store=store, split=f'{protocol}_train'))
val_dataloader = test_dataloader = dict(dataset=dict(store=store, split=f'{protocol}_test'))
val_evaluator = test_evaluator = dict(class_groups=['ntu_hand_11'])
