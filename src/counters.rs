//! Counters, histograms and the ledger.
