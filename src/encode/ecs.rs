//! ECS 9 document for Elastic and OpenSearch.
