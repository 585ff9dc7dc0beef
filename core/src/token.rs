//! Tokens that Corelane writes into Via branches and Record-Routes.
