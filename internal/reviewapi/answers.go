package reviewapi

import (
	"fmt"
	"net/http"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/registry/rest"
)

// reviewToken answers a TokenReview. Like a kube-apiserver, it authenticates a new request whose bearer token is the
// token under review. The error for an unknown token, or for a token with other audiences, is therefore `invalid bearer
// token`. A token that begins with a space counts as no token, so it is authenticated as system:anonymous.
// (k8s.io/kubernetes: pkg/registry/authentication/tokenreview)
func (s *Server) reviewToken(r *http.Request, object runtime.Object, record *Record) (runtime.Object, error) {
	review := object.(*authenticationv1.TokenReview)
	record.Audiences = review.Spec.Audiences
	if review.Spec.Token == "" {
		return nil, apierrors.NewBadRequest("token is required for TokenReview in authentication")
	}
	record.Token = fingerprint(review.Spec.Token)
	wipe(&review.ObjectMeta)
	if s.options.Authenticate != nil {
		answer, err := s.options.Authenticate(r.Context(), review, metav1.CreateOptions{})
		if err != nil {
			return nil, err
		}
		review.Status, record.TokenStatus = answer.Status, answer.Status.DeepCopy()
		return review, nil
	}
	audiences := authenticator.Audiences(review.Spec.Audiences)
	if len(audiences) == 0 {
		audiences = tokenAudiences
	}
	request := (&http.Request{Header: http.Header{}}).WithContext(authenticator.WithAudiences(r.Context(), audiences))
	request.Header.Set("Authorization", "Bearer "+review.Spec.Token)
	review.Status = authenticationv1.TokenReviewStatus{}
	response, ok, err := s.reviewer.AuthenticateRequest(request)
	if err != nil {
		review.Status.Error = err.Error()
	}
	if ok {
		review.Status.Authenticated = true
		review.Status.Audiences = response.Audiences
		review.Status.User = authenticationv1.UserInfo{Username: response.User.GetName(), UID: response.User.GetUID(),
			Groups: response.User.GetGroups()}
		for key, values := range response.User.GetExtra() {
			if review.Status.User.Extra == nil {
				review.Status.User.Extra = map[string]authenticationv1.ExtraValue{}
			}
			review.Status.User.Extra[key] = values
		}
	}
	record.TokenStatus = review.Status.DeepCopy()
	return review, nil
}

// reviewAccess answers a SubjectAccessReview with Options.Authorize if it is set, and otherwise from the policy.
// (k8s.io/kubernetes: pkg/registry/authorization/subjectaccessreview)
func (s *Server) reviewAccess(r *http.Request, object runtime.Object, record *Record) (runtime.Object, error) {
	review := object.(*authorizationv1.SubjectAccessReview)
	record.Access = review.Spec.DeepCopy()
	wipe(&review.ObjectMeta)
	if errs := validateAccess(review); len(errs) > 0 {
		return nil, apierrors.NewInvalid(schema.GroupKind{Group: authorizationv1.GroupName}, "", errs)
	}
	if s.options.Authorize != nil {
		answer, err := s.options.Authorize(r.Context(), review, metav1.CreateOptions{})
		if err != nil {
			return nil, err
		}
		review.Status = answer.Status
	} else {
		review.Status = s.policy.Load().Authorize(review.Spec)
	}
	record.AccessStatus = review.Status.DeepCopy()
	return review, nil
}

// wipe clears the metadata fields that a caller cannot set on a cluster-scoped object.
func wipe(meta *metav1.ObjectMeta) {
	rest.WipeObjectMetaSystemFields(meta)
	meta.Namespace = ""
}

const exactlyOneAttributes = "exactly one of nonResourceAttributes or resourceAttributes must be specified"

// validateAccess returns the errors for which an apiserver rejects a SubjectAccessReview with 422.
// (k8s.io/kubernetes: pkg/apis/authorization/validation)
func validateAccess(review *authorizationv1.SubjectAccessReview) (errs field.ErrorList) {
	spec, path := &review.Spec, field.NewPath("spec")
	if (spec.ResourceAttributes == nil) == (spec.NonResourceAttributes == nil) {
		// The error message formats the attributes with the field names of the apiserver's internal type.
		var value *struct{ Path, Verb string }
		if asked := spec.NonResourceAttributes; asked != nil {
			value = &struct{ Path, Verb string }{asked.Path, asked.Verb}
		}
		errs = append(errs, field.Invalid(path, value, exactlyOneAttributes))
	}
	if spec.User == "" && len(spec.Groups) == 0 {
		errs = append(errs, field.Invalid(path.Child("user"), spec.User,
			"at least one of user or group must be specified"))
	}
	if spec.ResourceAttributes != nil {
		errs = append(errs, validateSelectors(spec.ResourceAttributes, path.Child("resourceAttributes"))...)
	}
	meta := review.ObjectMeta
	meta.ManagedFields = nil
	if !equality.Semantic.DeepEqual(metav1.ObjectMeta{}, meta) {
		errs = append(errs, field.Invalid(field.NewPath("metadata"), review.ObjectMeta, "must be empty"))
	}
	return errs
}

func validateSelectors(asked *authorizationv1.ResourceAttributes, path *field.Path) (errs field.ErrorList) {
	if s := asked.FieldSelector; s != nil {
		at := path.Child("fieldSelector")
		errs = append(errs, validateForm(s.RawSelector, len(s.Requirements), at)...)
		for i, requirement := range s.Requirements {
			options := metav1validation.FieldSelectorValidationOptions{AllowUnknownOperatorInRequirement: true}
			errs = append(errs, metav1validation.ValidateFieldSelectorRequirement(requirement, options,
				at.Child("requirements").Index(i))...)
		}
	}
	if s := asked.LabelSelector; s != nil {
		at := path.Child("labelSelector")
		errs = append(errs, validateForm(s.RawSelector, len(s.Requirements), at)...)
		for i, requirement := range s.Requirements {
			options := metav1validation.LabelSelectorValidationOptions{AllowUnknownOperatorInRequirement: true}
			errs = append(errs, metav1validation.ValidateLabelSelectorRequirement(requirement, options,
				at.Child("requirements").Index(i))...)
		}
	}
	return errs
}

// validateForm checks that a selector has either a rawSelector or requirements, but not both.
func validateForm(raw string, requirements int, path *field.Path) field.ErrorList {
	switch {
	case raw != "" && requirements > 0:
		return field.ErrorList{field.Invalid(path.Child("rawSelector"), raw,
			"may not specified at the same time as requirements")}
	case raw == "" && requirements == 0:
		return field.ErrorList{field.Required(path.Child("requirements"),
			fmt.Sprintf("when %s is specified, requirements or rawSelector is required", path))}
	}
	return nil
}
