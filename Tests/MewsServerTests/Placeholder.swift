import MewsCore
