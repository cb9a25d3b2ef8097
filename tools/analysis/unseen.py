"""Accuracy on the test clips whose content is not in the training split."""

from bharnet_mm.experiments.unseen import main

if __name__ == '__main__':
    main()
