"""From bars to ideas: a snapshot of the market, replies of the model, scored, sized and stored."""
