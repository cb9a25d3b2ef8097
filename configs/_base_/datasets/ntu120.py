_base_ = 'ntu.py'

store = f'{_base_.data_root}/ntu120'  # python tools/data/ntu.py, then extract_hands.py
protocol = 'xsub'  # or 'xset'

train_dataloader = dict(dataset=dict(store=store, split=f'{protocol}_train'))
val_dataloader = test_dataloader = dict(dataset=dict(store=store, split=f'{protocol}_test'))
val_evaluator = test_evaluator = dict(class_groups=['ntu_hand_11', 'ntu_hand_27'])
